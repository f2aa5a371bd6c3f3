import type { DatabaseSync } from 'node:sqlite'

import type { SqliteDurability } from '../../control-plane/stops/stop-store.ts'
import type { Writer } from './transaction.ts'

/** In the order of their numbers. */
const SYNCHRONOUS = ['off', 'normal', 'full', 'extra']

/** What the connection that writes says of itself, not what was asked of it. */
export function createDurability(
  db: DatabaseSync,
  { read }: Writer,
): { readonly durability: () => Promise<SqliteDurability> } {
  const valueOf = (sql: string) => Object.values(db.prepare(sql).get() ?? {})[0]
  return {
    durability: async () =>
      read(() => ({
        kind: 'sqlite' as const,
        version: String(valueOf('SELECT sqlite_version()')),
        journalMode: String(valueOf('PRAGMA journal_mode')),
        synchronous: SYNCHRONOUS[Number(valueOf('PRAGMA synchronous'))] ?? 'unknown',
      })),
  }
}
