import type { DatabaseSync } from 'node:sqlite'

import { HoldpointError } from '../../errors.ts'
import { createWriter } from './transaction.ts'

/**
 * Brings the schema forward, never back: migration n (from 1) is `migrations[n - 1]`, each in its own transaction.
 * Throws `STORE_TOO_NEW` for a file that a newer version has written.
 */
export function migrate(db: DatabaseSync, file: string, migrations: readonly string[]): void {
  db.exec(
    'CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT',
  )
  const done = Number(
    db.prepare('SELECT coalesce(max(version), 0) AS version FROM migrations').get()?.['version'],
  )
  if (done > migrations.length) {
    throw new HoldpointError(
      'STORE_TOO_NEW',
      `The database ${file} has schema ${done}, this program knows ${migrations.length}. Start the newer version again.`,
    )
  }
  const writer = createWriter(db, file)
  const note = db.prepare(
    "INSERT INTO migrations (version, applied_at) VALUES (?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
  )
  for (const [index, sql] of migrations.entries()) {
    if (index < done) continue
    writer.transact(() => {
      db.exec(sql)
      note.run(index + 1)
    })
  }
}
