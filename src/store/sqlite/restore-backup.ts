import { createReadStream, createWriteStream, existsSync, renameSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pipeline } from 'node:stream/promises'

import { HoldpointError } from '../../errors.ts'
import { damageOf } from './backup.ts'
import { CONTROL_PLANE_MIGRATIONS } from './control-plane-schema.ts'
import { assertThere, giveToDirectoryOwner, removeDatabase, SUFFIXES, syncDirectoryOf, syncFile, timeInName } from './files.ts' // prettier-ignore
import { holdExclusively } from './lock.ts'
import { storeError } from './open.ts'
import { BACKUP_MARK, KEEP_KEYS_MARK } from './restored.ts'

export interface RestoreOptions {
  readonly backup: string
  /** The control plane's file. No control plane may be using it. */
  readonly file: string
  /** Keys that were burned after the backup was made work again. Default false: opening it ends every key. */
  readonly keepKeys?: boolean | undefined
  /** Wall time in milliseconds. Default `Date.now`. */
  readonly nowMs?: (() => number) | undefined
}

export interface Restored {
  /** Where the file that was there lies now; undefined when there was none. */
  readonly movedTo: string | undefined
}

/**
 * Puts a backup in the place of the control plane's file, which is moved aside. Whoever opens it next begins a new
 * generation with every org disabled and every key ended. Nothing is moved before the copy was checked and is on the disk.
 * Throws HoldpointError: `STORE_MISSING`, `STORE_IN_USE`, `STORE_TOO_NEW`, `BACKUP_DAMAGED`, `BACKUP_NOT_MARKED`, …
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { backup, file, keepKeys = false, nowMs = Date.now } = options
  assertThere(backup, 'Give the file that the backup command has written.')
  const lock = holdExclusively(file)
  const copy = `${file}.restoring-${process.pid}`
  try {
    await pipeline(createReadStream(backup), createWriteStream(copy, { flags: 'wx', mode: 0o600 }))
    assertBackup(copy, backup)
    markKeepKeys(copy, keepKeys)
    for (const made of [copy, `${file}.lock`]) giveToDirectoryOwner(made)
    syncFile(copy)
    const movedTo = moveAside(file, nowMs())
    renameSync(copy, file)
    syncDirectoryOf(file)
    return { movedTo }
  } catch (thrown) {
    throw storeError(thrown, file)
  } finally {
    lock.release()
    removeDatabase(copy)
  }
}

/** Throws unless `copy` is a whole backup that this program can read. Its errors name the `backup` it is a copy of. */
function assertBackup(copy: string, backup: string): void {
  const damage = damageOf(copy)
  if (damage !== undefined) {
    throw new HoldpointError(
      'BACKUP_DAMAGED',
      `The backup ${backup} is damaged (${damage}). Use another one.`,
    )
  }
  const { version, marked } = describe(copy)
  if (!marked) {
    throw new HoldpointError(
      'BACKUP_NOT_MARKED',
      `${backup} is not marked as a backup: started from a plain copy, a control plane would not know that stops are missing. ` +
        'Make backups with: npx holdpoint backup FILE',
    )
  }
  const known = CONTROL_PLANE_MIGRATIONS.length
  if (version <= known) return
  throw new HoldpointError(
    'STORE_TOO_NEW',
    `The backup ${backup} has schema ${version}, this program knows ${known}. Restore it with the newer version.`,
  )
}

function describe(file: string): { readonly version: number; readonly marked: boolean } {
  const db = new DatabaseSync(file)
  try {
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE name IN ('meta', 'migrations')").all()
    if (tables.length < 2) return { version: 0, marked: false }
    return {
      version: Number(db.prepare('SELECT max(version) AS version FROM migrations').get()?.['version']),
      marked: db.prepare('SELECT 1 FROM meta WHERE name = ?').get(BACKUP_MARK) !== undefined,
    }
  } finally {
    db.close()
  }
}

function markKeepKeys(file: string, keepKeys: boolean): void {
  const db = new DatabaseSync(file)
  try {
    db.prepare('DELETE FROM meta WHERE name = ?').run(KEEP_KEYS_MARK)
    if (keepKeys) db.prepare('INSERT INTO meta (name, value) VALUES (?, 1)').run(KEEP_KEYS_MARK)
  } finally {
    db.close()
  }
}

/** The database first: one whose WAL alone was gone would open, without its last stops. */
function moveAside(file: string, nowMs: number): string | undefined {
  const movedTo = `${file}.before-restore-${timeInName(nowMs)}`
  let moved: string | undefined
  for (const suffix of SUFFIXES) {
    if (!existsSync(`${file}${suffix}`)) continue
    renameSync(`${file}${suffix}`, `${movedTo}${suffix}`)
    moved = movedTo
  }
  return moved
}
