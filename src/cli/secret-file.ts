import { closeSync, fsyncSync, openSync, unlinkSync, writeSync } from 'node:fs'

import { messageOf } from '../errors.ts'
import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'

/** A file that is there, empty, before the secret is made that goes into it. */
export interface SecretFile {
  readonly path: string
  /** Durable when it returns. */
  write(secret: string): void
  /** Takes it away again. */
  discard(): void
}

/** Mode 0600, and never one that is there already. Throws `CliError` (usage). */
function createSecretFile(path: string): SecretFile {
  let handle: number
  try {
    handle = openSync(path, 'wx', 0o600)
  } catch (cause) {
    const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    const why = isThere ? 'it is there already, and is not overwritten' : messageOf(cause)
    throw new CliError('OUT_NOT_WRITABLE', `--out ${path}: ${why}. Give another name.`, EXIT.usage, { cause })
  }
  return {
    path,
    write: (secret) => {
      try {
        writeSync(handle, `${secret}\n`)
        fsyncSync(handle)
      } catch (cause) {
        throw new CliError('OUT_NOT_WRITABLE', `--out ${path}: ${messageOf(cause)}`, EXIT.error, { cause })
      } finally {
        closeSync(handle)
      }
    },
    discard: () => {
      closeSync(handle)
      unlinkSync(path)
    },
  }
}

/** Makes a secret that is shown once; with `out` it goes to that file, which is made before. */
export async function madeSecret<T>(
  out: string | undefined,
  make: () => T | Promise<T>,
  secretOf: (made: T) => string,
): Promise<T> {
  const file = out === undefined ? undefined : createSecretFile(out)
  let made: T
  try {
    made = await make()
  } catch (error) {
    file?.discard()
    throw error
  }
  file?.write(secretOf(made))
  return made
}
