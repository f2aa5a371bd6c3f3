import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** Stands in for a system of record: text under a key. */
export interface Records {
  /** Writes over what was there. */
  write(key: string, value: string): void
  read(key: string): string | undefined
  close(): void
}

/** Records in a SQLite file. */
export function createRecords({ file }: { readonly file: string }): Records {
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file, { timeout: 5000 })
  db.exec('PRAGMA synchronous = FULL')
  db.exec('CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT')
  const upsert = db.prepare(
    'INSERT INTO records VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
  )
  const select = db.prepare('SELECT value FROM records WHERE key = ?')
  return {
    write: (key, value) => void upsert.run(key, value),
    read: (key) => select.get(key)?.['value'] as string | undefined,
    close: () => db.close(),
  }
}
