import { GuardMisconfiguredError } from 'holdpoint'

import type { PostgresTables, Query } from './postgres-tables.ts'
import type { Records } from './records.ts'

const UPSERT = `INSERT INTO holdpoint_accounts.records VALUES ($1, $2)
  ON CONFLICT (key) DO UPDATE SET value = excluded.value`

/**
 * One set of records for any number of tool servers. `sharesJournal`: whether the guard's journal is in this database, so
 * that a record and its outcome commit together.
 */
export function createPostgresRecords(
  { query }: PostgresTables,
  { sharesJournal = false }: { readonly sharesJournal?: boolean } = {},
): Records {
  return {
    sharesJournal,
    write: async (key, value, transaction) => {
      const ask = transaction === undefined ? query : queryOf(transaction)
      await ask(UPSERT, [key, value])
    },
    read: async (key) => {
      const [row] = await query('SELECT value FROM records WHERE key = $1', [key])
      return row?.['value'] as string | undefined
    },
  }
}

/** Of a journal in Postgres. One in another database has no such table, and the effect is rolled back. */
function queryOf(transaction: unknown): (text: string, values: readonly unknown[]) => Promise<unknown> {
  const { query } = transaction as { readonly query?: Query }
  if (typeof query === 'function') return query
  throw new GuardMisconfiguredError(
    "The records are in Postgres, and the guard's journal is not. Open both there, or the records without sharesJournal.",
  )
}
