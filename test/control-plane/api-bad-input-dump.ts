import { DatabaseSync } from 'node:sqlite'

/** What changes without anybody having changed anything: what was told, and when. */
const EVIDENCE = ['decisions', 'devices_seen', 'keys_seen', 'replicas', 'stop_acks']

export interface Dump extends Disposable {
  /** Everything that is stored, but for evidence of what was asked. */
  readonly take: () => string
}

/** Looks into the file by a connection of its own. */
export function openDump(file: string): Dump {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    .all()
    .map(({ name }) => String(name))
    .filter((name) => !EVIDENCE.includes(name))
  const version = db.prepare('PRAGMA data_version')
  // The hash of an audit row stands for all of it.
  const columns = (name: string) => (name === 'audit' ? 'org_id, seq, hash' : '*')
  const rows = tables.map((name) => db.prepare(`SELECT ${columns(name)} FROM "${name}"`))
  let last: { readonly version: unknown; readonly text: string } | undefined
  return {
    take: () => {
      const now = version.get()?.['data_version']
      if (last?.version !== now || last === undefined) {
        last = { version: now, text: JSON.stringify(rows.map((all, index) => [tables[index], all.all()])) }
      }
      return last.text
    },
    [Symbol.dispose]: () => db.close(),
  }
}
