import type { DatabaseSync } from 'node:sqlite'

import { HoldpointError } from '../../errors.ts'
import { createWriter } from './transaction.ts'

/** SQL, or what SQL cannot say. */
export type Migration = string | ((db: DatabaseSync) => void)

/**
 * Brings the schema forward, never back: migration n (from 1) is `migrations[n - 1]`, each in its own transaction,
 * which also reads how far the file has come, so that of two processes only one runs a step.
 * Throws `STORE_TOO_NEW` for a file that a newer version has written.
 */
export function migrate(db: DatabaseSync, file: string, migrations: readonly Migration[]): void {
  const writer = createWriter(db, file)
  const next = () => {
    const done = schemaVersion(db)
    if (done > migrations.length) throw tooNew(file, done, migrations.length)
    const step = migrations[done]
    if (step === undefined) return false
    if (typeof step === 'string') db.exec(step)
    else step(db)
    db.prepare(
      "INSERT INTO migrations (version, applied_at) VALUES (?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    ).run(done + 1)
    return true
  }
  while (writer.transact(next)) continue
}

function schemaVersion(db: DatabaseSync): number {
  db.exec(
    'CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT',
  )
  return Number(db.prepare('SELECT coalesce(max(version), 0) AS version FROM migrations').get()?.['version'])
}

function tooNew(file: string, found: number, known: number): HoldpointError {
  return new HoldpointError(
    'STORE_TOO_NEW',
    `The database ${file} has schema ${found}, this program knows ${known}. Start the newer version again.`,
  )
}
