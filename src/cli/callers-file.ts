import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'

import { messageOf } from '../errors.ts'
import { parseCallerRecords, type CallerRecord } from '../tool-server/callers.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'

/** The callers of a file. Throws `CALLERS_UNREADABLE`. */
export function readCallersFile(file: string): readonly CallerRecord[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new CliError('CALLERS_UNREADABLE', `${file} cannot be read: ${messageOf(cause)}`, EXIT.error, {
      cause,
    })
  }
  return parseCallerRecords(text, file)
}

/**
 * Changes a file of callers: whole or not at all, and one at a time. Owner, group and mode stay, so that the tool server can
 * read it on; a new one has mode 0600.
 */
export function editCallersFile(
  file: string,
  change: (callers: readonly CallerRecord[]) => readonly CallerRecord[],
): void {
  const path = realPathOf(file)
  const draft = `${path}.draft`
  const handle = openDraft(draft, path)
  try {
    const text = `${JSON.stringify({ callers: change(existsSync(path) ? readCallersFile(path) : []) }, null, 2)}\n`
    // What the tool server would refuse never gets there.
    parseCallerRecords(text, path)
    writeSync(handle, text)
    fsyncSync(handle)
    renameSync(draft, path)
    syncDirectory(dirname(path))
  } catch (error) {
    unlinkSync(draft)
    throw error
  } finally {
    closeSync(handle)
  }
}

/** Whoever has the draft edits. */
function openDraft(draft: string, path: string): number {
  let handle: number | undefined
  try {
    handle = openSync(draft, 'wx', 0o600)
    keepAccess(handle, path)
    return handle
  } catch (cause) {
    if (handle !== undefined) {
      closeSync(handle)
      unlinkSync(draft)
    }
    const why =
      codeOf(cause) === 'EEXIST'
        ? `${draft} is there: somebody else edits it now, or was cut off while they did. Wait, or delete that file`
        : messageOf(cause)
    throw new CliError('CALLERS_NOT_WRITABLE', `${path} cannot be changed: ${why}.`, EXIT.error, { cause })
  }
}

/** Owner, group and mode as the file has them, whatever the umask and the group of whoever edits it. */
function keepAccess(handle: number, path: string): void {
  const before = statSync(path, { throwIfNoEntry: false })
  if (before === undefined) return
  const { uid, gid } = fstatSync(handle)
  if (uid !== before.uid || gid !== before.gid) fchownSync(handle, before.uid, before.gid)
  fchmodSync(handle, before.mode & 0o777)
}

function realPathOf(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    return file
  }
}

function syncDirectory(directory: string): void {
  const handle = openSync(directory, 'r')
  fsyncSync(handle)
  closeSync(handle)
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
