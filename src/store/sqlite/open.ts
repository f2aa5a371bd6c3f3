import { accessSync, constants, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { HoldpointError, messageOf } from '../../errors.ts'
import { createNewFile, SUFFIXES } from './files.ts'
import { assertLocalDisk, type Statfs } from './local-disk.ts'

/** Below this, two connections on one WAL file could corrupt it (sqlite.org/wal.html#walresetbug). */
const OLDEST_SQLITE = '3.51.3'
const SQLITE_BUSY = 5

export interface OpenOptions {
  /** Default false. A read-only connection needs a file that exists. */
  readonly readOnly?: boolean
  /** How long a statement waits for another connection's lock, in milliseconds. Default 5000. */
  readonly timeoutMs?: number
  /** Which file system a directory is on. Default `fs.statfsSync`. */
  readonly statfs?: Statfs | undefined
}

/**
 * Opens (and creates, mode 0600) a SQLite file the way everything here needs it: WAL, a COMMIT that returns only
 * when the disk has it (G5), foreign keys on. Each setting is read back. Throws HoldpointError with
 * `SQLITE_TOO_OLD`, `SQLITE_SETTING`, `STORE_ON_NETWORK`, or what `storeError` gives.
 */
export function openSqlite(
  file: string,
  { readOnly = false, timeoutMs = 5000, statfs }: OpenOptions = {},
): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    assertLocalDisk(file, statfs)
    if (!readOnly) createPrivateFile(file)
    db = new DatabaseSync(file, { readOnly, timeout: timeoutMs, enableForeignKeyConstraints: true })
    assertVersion(String(valueOf(db, 'SELECT sqlite_version()')))
    for (const [pragma, value] of settings(timeoutMs)) set(db, pragma, value)
    return db
  } catch (thrown) {
    db?.close()
    throw storeError(thrown, file)
  }
}

/**
 * Creates `file` with mode 0600 when it is not there. Never opens one that is: closing that handle would drop the
 * locks this process holds on the file.
 */
export function createPrivateFile(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  try {
    createNewFile(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function settings(timeoutMs: number): (readonly [string, string | number])[] {
  const darwin = process.platform === 'darwin'
  return [
    ['journal_mode', 'wal'],
    ['synchronous', 2],
    ['busy_timeout', timeoutMs],
    ['foreign_keys', 1],
    ['trusted_schema', 0],
    // On macOS a plain fsync leaves the data in the drive's cache.
    ...(darwin
      ? ([
          ['fullfsync', 1],
          ['checkpoint_fullfsync', 1],
        ] as const)
      : []),
  ]
}

function set(db: DatabaseSync, pragma: string, value: string | number): void {
  execPatiently(db, `PRAGMA ${pragma} = ${value}`)
  const now = valueOf(db, `PRAGMA ${pragma}`)
  if (now === value) return
  throw new HoldpointError(
    'SQLITE_SETTING',
    `SQLite did not take "${pragma} = ${value}" (it is "${String(now)}"), without which an acknowledged change could be lost. ` +
      'Put the file on a local disk.',
  )
}

/** SQLite does not wait for a lock while it turns a file to WAL: processes that open a new file at once collide. */
function execPatiently(db: DatabaseSync, sql: string): void {
  const untilMs = performance.now() + 1000
  for (;;) {
    try {
      return db.exec(sql)
    } catch (thrown) {
      if ((thrown as { errcode?: number }).errcode !== SQLITE_BUSY || performance.now() > untilMs)
        throw thrown
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
    }
  }
}

/** Throws `SQLITE_TOO_OLD` unless `version` is at least 3.51.3. */
export function assertVersion(version: string): void {
  if (version.localeCompare(OLDEST_SQLITE, 'en', { numeric: true }) >= 0) return
  throw new HoldpointError(
    'SQLITE_TOO_OLD',
    `This Node (${process.version}) brings SQLite ${version}; ${OLDEST_SQLITE} or newer is needed, because older ones can ` +
      'corrupt a database that two connections share. Use Node 24 or newer.',
  )
}

function valueOf(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get() ?? {})[0]
}

/** SQLite's primary result codes that we tell apart. */
const SQLITE_CODES: Record<number, readonly [code: string, problem: string, next: string]> = {
  5: ['STORE_LOCKED', 'is locked by another program', 'Stop the other one, or use another file.'],
  8: ['STORE_NOT_WRITABLE', 'cannot be written', 'Check the owner and mode of the file and its directory.'],
  10: [
    'STORE_IO',
    'could not be read or written: the disk reported an error',
    'Check the disk, then start again.',
  ],
  11: ['STORE_CORRUPT', 'is damaged', 'Restore it from a backup.'],
  13: ['STORE_FULL', 'could not grow', 'Free space on its disk, then start again.'],
  14: ['STORE_NOT_WRITABLE', 'cannot be opened', 'Check that the directory exists and can be written.'],
  26: ['STORE_CORRUPT', 'is not a SQLite database', 'Restore it from a backup, or use another file.'],
}

const ERRNO_CODES: Record<string, readonly [code: string, problem: string, next: string]> = {
  ENOSPC: ['STORE_FULL', 'could not be created: the disk is full', 'Free space, then start again.'],
  EDQUOT: ['STORE_FULL', 'could not be created: the quota is used up', 'Free space, then start again.'],
}

/** What SQLite or the file system threw, as an error that names the file and the next step. */
export function storeError(thrown: unknown, file: string): HoldpointError {
  if (thrown instanceof HoldpointError) return thrown
  const { errcode, code } = thrown as { errcode?: number; code?: string }
  const known = errcode === undefined ? ERRNO_CODES[code ?? ''] : SQLITE_CODES[errcode & 0xff]
  const fallback =
    errcode === undefined
      ? (['STORE_NOT_WRITABLE', 'cannot be created', 'Check that its directory can be written.'] as const)
      : (['STORE_FAILED', 'could not be used', 'Check the file and the disk, then start again.'] as const)
  const [name, problem, usual] = known ?? fallback
  const next = (name === 'STORE_NOT_WRITABLE' && ownerProblem(file)) || usual
  return new HoldpointError(name, `The database ${file} ${problem} (${messageOf(thrown)}). ${next}`, {
    cause: thrown,
  })
}

/** Undefined unless the file, or one that lies beside it, belongs to somebody who lets this user not write it. */
function ownerProblem(file: string): string | undefined {
  for (const path of SUFFIXES.map((suffix) => `${file}${suffix}`)) {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats === undefined || mayWrite(path)) continue
    const mode = (stats.mode & 0o777).toString(8)
    const user = process.getuid?.()
    return `Check the owner and mode of ${path}: it belongs to user ${stats.uid} with mode ${mode}, and this runs as user ${user}.`
  }
  return undefined
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}
