import type { DatabaseSync } from 'node:sqlite'

import { disabledByRestore, firstEpoch, nextGeneration } from '../../control-plane/generation.ts'
import { createChangeWriter } from './control-plane-change.ts'
import * as rows from './control-plane-rows.ts'
import type { ExclusiveLock } from './lock.ts'
import { createWriter } from './transaction.ts'

/** Which copy is a backup says this row of `meta`; its value is when it was made, in wall-clock milliseconds. */
export const BACKUP_MARK = 'backup'

/**
 * Answers the generation of the file that is being opened. A backup is given a new one, in one transaction: every org
 * disabled, and every epoch raised into it, so that no form of an earlier day can undo a stop (G6). Throws
 * `STORE_NOT_WRITABLE` for a file that can only be read, which SQLite opens without a word.
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
    const generation =
      madeAtMs === undefined ? inFile : nextGeneration({ inFile, seen: lock.seenGeneration(), nowMs: now })
    // Before COMMIT: a generation that was given once is never given again, whatever happens in between.
    lock.noteGeneration(generation)
    setGeneration.run(generation)
    if (madeAtMs !== undefined) disableEverything(db, { generation, nowMs: now, madeAtMs })
    return generation
  })
}

function disableEverything(
  db: DatabaseSync,
  restore: { readonly generation: number; readonly nowMs: number; readonly madeAtMs: number },
): void {
  const write = createChangeWriter(db)
  for (const row of db.prepare(`SELECT ${rows.orgs.list} FROM orgs`).all()) {
    const { org, audit } = disabledByRestore(rows.orgs.of(row), restore)
    write(org.orgId, { org, audit: [audit], result: undefined })
  }
  const epoch = firstEpoch(restore.generation) + 1
  for (const table of ['devices', 'locks']) db.prepare(`UPDATE ${table} SET epoch = ?`).run(epoch)
  db.prepare('DELETE FROM meta WHERE name = ?').run(BACKUP_MARK)
}
