import { existsSync, renameSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'

import { HoldpointError } from '../../errors.ts'
import { assertThere, createNewFile, removeDatabase, syncDirectoryOf, syncFile } from './files.ts'
import { damageIn } from './integrity.ts'
import { openSqlite, storeError } from './open.ts'
import { BACKUP_MARK } from './restored.ts'

export interface BackupOptions {
  /** The control plane's file. A control plane may be using it. */
  readonly from: string
  /** Where the copy goes: a file that is not there yet, in a directory that is. */
  readonly to: string
  /** Told what part of the copy is done, 0 to 1. */
  readonly onProgress?: ((done: number) => void) | undefined
  /** Wall time in milliseconds. Default `Date.now`. */
  readonly nowMs?: (() => number) | undefined
}

const PAGES_AT_ONCE = 1000

/**
 * Copies the control plane's file as it is at this moment, while a control plane goes on writing to it. The copy is
 * one file, mode 0600, marked as a backup, checked, and on the disk when this resolves; before that nothing has the
 * name `to`. Throws HoldpointError: `STORE_MISSING`, `STORE_CORRUPT`, `STORE_FULL`, `BACKUP_EXISTS`,
 * `BACKUP_DIRECTORY_MISSING`, …
 */
export async function backUp({ from, to, onProgress, nowMs = Date.now }: BackupOptions): Promise<void> {
  assertThere(from, "Set DATA_DIR to the control plane's data directory.")
  assertFree(to)
  const unfinished = `${to}.unfinished-${process.pid}`
  try {
    createNewFile(unfinished)
    await copyDatabase(from, unfinished, onProgress)
    onProgress?.(1)
    mark(unfinished, nowMs())
    const damage = damageOf(unfinished)
    if (damage !== undefined) throw sourceDamaged(from, damage)
    syncFile(unfinished)
    assertFree(to)
    renameSync(unfinished, to)
    syncDirectoryOf(to)
  } catch (thrown) {
    throw storeError(thrown, to)
  } finally {
    removeDatabase(unfinished)
  }
}

async function copyDatabase(
  from: string,
  to: string,
  onProgress: BackupOptions['onProgress'],
): Promise<void> {
  const db = openSqlite(from, { readOnly: true })
  try {
    // One snapshot for the whole copy: without it, every change made meanwhile would begin the copy anew.
    db.exec('BEGIN')
    db.prepare('SELECT count(*) FROM sqlite_schema').get()
    await backup(db, to, {
      rate: PAGES_AT_ONCE,
      progress: ({ totalPages, remainingPages }) => onProgress?.(1 - remainingPages / totalPages),
    })
  } finally {
    db.close()
  }
}

function mark(file: string, madeAtMs: number): void {
  const db = new DatabaseSync(file)
  try {
    // One file, without a WAL beside it that somebody could forget to take along.
    db.exec('PRAGMA journal_mode = DELETE')
    db.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)').run(BACKUP_MARK, madeAtMs)
  } finally {
    db.close()
  }
}

/** What is wrong with a database; undefined when every page and index of it adds up. */
export function damageOf(file: string): string | undefined {
  const db = new DatabaseSync(file)
  try {
    return damageIn(db, 'integrity_check')
  } catch (thrown) {
    const error = storeError(thrown, file)
    if (error.code === 'STORE_CORRUPT') return (thrown as Error).message
    throw error
  } finally {
    db.close()
  }
}

function sourceDamaged(from: string, damage: string): HoldpointError {
  return new HoldpointError(
    'STORE_CORRUPT',
    `The database ${from} is damaged (${damage}), and so would be its backup. Restore an earlier one.`,
  )
}

function assertFree(to: string): void {
  if (existsSync(to)) {
    throw new HoldpointError('BACKUP_EXISTS', `${to} exists and is not overwritten. Give another file name.`)
  }
  if (existsSync(dirname(resolve(to)))) return
  throw new HoldpointError(
    'BACKUP_DIRECTORY_MISSING',
    `The directory of ${to} does not exist. Make it, or mount its disk, then try again.`,
  )
}
