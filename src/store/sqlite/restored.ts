import type { DatabaseSync } from 'node:sqlite'

import { firstEpoch, nextGeneration, restored, type Restore } from '../../control-plane/generation.ts'
import { HoldpointError } from '../../errors.ts'
import { createChangeWriter } from './control-plane-change.ts'
import * as rows from '../control-plane-rows.ts'
import type { ExclusiveLock } from './lock.ts'
import { createWriter } from './transaction.ts'

/** Which copy is a backup says this row of `meta`; its value is when it was made, in wall-clock milliseconds. */
export const BACKUP_MARK = 'backup'
/** A backup that is opened with this row of `meta` keeps its keys. */
export const KEEP_KEYS_MARK = 'backup_keeps_keys'

/**
 * Answers the generation of the file that is being opened. A backup is given a new one, in one transaction: every org
 * disabled, every key ended, and every epoch raised into it, so that no form of an earlier day can undo a stop, and no
 * key that was burned since works again (G6). Throws `STORE_NOT_WRITABLE` for a file that can only be read, which SQLite
 * opens without a word.
 */
export function enterGeneration(
  db: DatabaseSync,
  file: string,
  lock: ExclusiveLock,
  nowMs: () => number,
): number {
  const meta = db.prepare('SELECT value FROM meta WHERE name = ?')
  const valueOf = (name: string) => meta.get(name)?.['value'] as number | undefined
  const setGeneration = db.prepare("UPDATE meta SET value = ? WHERE name = 'generation'")

  return createWriter(db, file).transact(() => {
    const inFile = valueOf('generation') ?? 0
    const madeAtMs = valueOf(BACKUP_MARK)
    const now = nowMs()
    // Stops of the newer generation are not in it, and its old forms would fit again (G6).
    if (madeAtMs === undefined && inFile < lock.seenGeneration()) throw olderThanSeen(file)
    const generation =
      madeAtMs === undefined ? inFile : nextGeneration({ inFile, seen: lock.seenGeneration(), nowMs: now })
    // Before COMMIT: a generation that was given once is never given again, whatever happens in between.
    lock.noteGeneration(generation)
    setGeneration.run(generation)
    if (madeAtMs !== undefined) {
      const keepKeys = valueOf(KEEP_KEYS_MARK) !== undefined
      const what = `Restored from a backup of ${new Date(madeAtMs).toISOString()}`
      stopEverything(db, { generation, nowMs: now, what }, keepKeys)
    }
    return generation
  })
}

function olderThanSeen(file: string): HoldpointError {
  return new HoldpointError(
    'STORE_OLDER',
    `The database ${file} is older than one that was restored here since, so what was stopped meanwhile would be allowed again. ` +
      'Put the newer file back, or make a backup of this one and restore it: npx holdpoint backup, then npx holdpoint restore-backup.',
  )
}

function stopEverything(db: DatabaseSync, restore: Restore, keepKeys: boolean): void {
  const write = createChangeWriter(db)
  const liveKeys = db.prepare(
    `SELECT ${rows.keys.list} FROM keys WHERE org_id = ? AND ended_as IS NULL ORDER BY key_id`,
  )
  for (const row of db.prepare(`SELECT ${rows.orgs.list} FROM orgs`).all()) {
    const org = rows.orgs.of(row)
    const ending = keepKeys ? [] : liveKeys.all(org.orgId).map(rows.keys.of)
    write(org.orgId, restored(org, ending, restore))
  }
  const epoch = firstEpoch(restore.generation) + 1
  for (const table of ['devices', 'locks']) db.prepare(`UPDATE ${table} SET epoch = ?`).run(epoch)
  // What waits in a backup may have been decided since, and is decided once.
  db.prepare("UPDATE approvals SET state = 'withdrawn', ended_at_ms = ? WHERE state = 'waiting'").run(
    restore.nowMs,
  )
  // Who has signed out since must not be signed in again, whether keys are kept or not.
  db.prepare("UPDATE sessions SET ended_at_ms = ?, ended_as = 'restored' WHERE ended_at_ms IS NULL").run(
    restore.nowMs,
  )
  db.prepare('DELETE FROM meta WHERE name IN (?, ?)').run(BACKUP_MARK, KEEP_KEYS_MARK)
}
