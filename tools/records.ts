import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { GuardMisconfiguredError } from 'holdpoint'

/** Stands in for a system of record: text under a key. */
export interface Records {
  /** True when they lie in the guard's journal. */
  readonly sharesJournal: boolean
  /**
   * Writes over what was there, in the `transaction` of the journal where there is one. Throws `GUARD_MISCONFIGURED`,
   * having written nothing, on a transaction of another database.
   */
  write(key: string, value: string, transaction?: unknown): void | Promise<void>
  read(key: string): string | undefined | Promise<string | undefined>
}

/** Records in a file: they are written at once. */
export interface FileRecords extends Records {
  write(key: string, value: string, transaction?: unknown): void
  read(key: string): string | undefined
  /** Takes over the records of an older file. A key that is here already keeps its value. */
  importFrom(file: string): void
  close(): void
}

export interface RecordsOptions {
  readonly file: string
  /** Whether `file` is the guard's journal, so that a record and its outcome commit together. Default false. */
  readonly sharesJournal?: boolean
}

const UPSERT = 'INSERT INTO records VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value'

/** Records in a SQLite file. */
export function createRecords({ file, sharesJournal = false }: RecordsOptions): FileRecords {
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file, { timeout: 5000 })
  db.exec('PRAGMA synchronous = FULL')
  db.exec('CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT')
  const upsert = db.prepare(UPSERT)
  const select = db.prepare('SELECT value FROM records WHERE key = ?')
  return {
    sharesJournal,
    write: (key, value, transaction) => {
      if (transaction === undefined) return void upsert.run(key, value)
      if (!(transaction instanceof DatabaseSync) || transaction.location() !== db.location()) {
        throw new GuardMisconfiguredError(
          `The records are in ${file}, which is not the file of the guard's journal. Open them on that file, or without sharesJournal.`,
        )
      }
      transaction.prepare(UPSERT).run(key, value)
    },
    read: (key) => select.get(key)?.['value'] as string | undefined,
    importFrom: (older) => {
      db.prepare('ATTACH ? AS older').run(older)
      try {
        db.exec('INSERT OR IGNORE INTO main.records SELECT key, value FROM older.records')
      } finally {
        db.exec('DETACH older')
      }
    },
    close: () => db.close(),
  }
}
