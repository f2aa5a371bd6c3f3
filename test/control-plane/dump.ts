import { DatabaseSync } from 'node:sqlite'

type Row = Readonly<Record<string, unknown>>

/** What only reads and decisions write. */
const BESIDE_CHANGES = new Set(['decisions', 'devices_seen', 'keys_seen'])

/** Every row of every table that changes write, of a file that may be in use. */
export function dump(file: string): Readonly<Record<string, readonly Row[]>> {
  return withDatabase(file, (db) => {
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all()
    const names = tables.map(({ name }) => String(name)).filter((name) => !BESIDE_CHANGES.has(name))
    return Object.fromEntries(names.map((name) => [name, db.prepare(`SELECT * FROM ${name}`).all()]))
  })
}

/** The chain of one org, oldest first. */
export function auditOf(file: string, orgId: string) {
  return withDatabase(file, (db) =>
    db
      .prepare('SELECT * FROM audit WHERE org_id = ? ORDER BY seq')
      .all(orgId)
      .map((row) => ({
        action: String(row['action']),
        actor: String(row['actor']),
        deviceId: row['device_id'] === null ? undefined : String(row['device_id']),
        before: JSON.parse(String(row['before'])),
        after: JSON.parse(String(row['after'])),
      })),
  )
}

function withDatabase<T>(file: string, read: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
  try {
    return read(db)
  } finally {
    db.close()
  }
}
