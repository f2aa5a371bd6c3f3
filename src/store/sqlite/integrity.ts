import type { DatabaseSync } from 'node:sqlite'

/** What is wrong with a database, in one line; undefined when nothing is. `quick_check` leaves out the indexes. */
export function damageIn(db: DatabaseSync, check: 'quick_check' | 'integrity_check'): string | undefined {
  const found = String(db.prepare(`PRAGMA ${check}(1)`).get()?.[check])
  return found === 'ok' ? undefined : found.replace(/^\*\*\*.*\*\*\*\s/, '').replaceAll('\n', '; ')
}
