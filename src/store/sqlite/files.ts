import { closeSync, existsSync, fsyncSync, lchownSync, openSync, rmSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { HoldpointError } from '../../errors.ts'

/** A SQLite database is a file, and what lies beside it. */
export const SUFFIXES = ['', '-journal', '-wal', '-shm']

export function removeDatabase(file: string): void {
  for (const suffix of SUFFIXES) rmSync(`${file}${suffix}`, { force: true })
}

/** Creates an empty file that only its owner may read. Throws when there is one. */
export function createNewFile(file: string): void {
  closeSync(openSync(file, 'wx', 0o600))
}

/** What root makes for a service that runs as another user: gives the file to the owner of its directory. */
export function giveToDirectoryOwner(file: string): void {
  if (process.getuid?.() !== 0 || !existsSync(file)) return
  const { uid, gid } = statSync(dirname(resolve(file)))
  // Never through a link, which that owner could have put there.
  lchownSync(file, uid, gid)
}

export function syncFile(file: string): void {
  sync(file, 'r+')
}

/** A name is on the disk only when its directory is. */
export function syncDirectoryOf(file: string): void {
  sync(dirname(resolve(file)), 'r')
}

function sync(path: string, flags: string): void {
  const handle = openSync(path, flags)
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** A time, as a part of a file's name. */
export function timeInName(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[:.]/g, '-')
}

/** Throws `STORE_MISSING`. */
export function assertThere(file: string, next: string): void {
  if (existsSync(file)) return
  throw new HoldpointError('STORE_MISSING', `There is no file ${resolve(file)}. ${next}`)
}
