import type { Mapping, Row, Value } from '../control-plane-rows.ts'
import type { Condition } from '../filters.ts'
import { storableText } from '../text.ts'
import type { Session } from './session.ts'

// Any number of rows by one statement, whose only parameter is their JSON.

/** `INSERT … SELECT` of what `rowsOf` gives as `$1`. */
export function insertAll(table: string, columns: readonly string[]): string {
  const list = columns.join(', ')
  return `INSERT INTO ${table} (${list}) SELECT ${list} FROM json_populate_recordset(NULL::${table}, $1::json)`
}

/** The last of several rows with one key counts. */
export function upsertAll(table: string, columns: readonly string[], key: readonly string[]): string {
  const updates = columns
    .filter((column) => !key.includes(column))
    .map((column) => `${column} = excluded.${column}`)
  return `${insertAll(table, columns)} ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${updates.join(', ')}`
}

/** Rows as one parameter. `common`: columns that all of them share, the org mostly. */
export function rowsOf<T>(
  mapping: Pick<Mapping<T>, 'columns' | 'values'>,
  records: readonly T[],
  common: Row = {},
): string {
  return jsonRows(
    records.map((record) => {
      const row: Row = { ...common }
      const values = mapping.values(record)
      for (const [index, column] of mapping.columns.entries()) row[column] = values[index] ?? null
      return row
    }),
  )
}

export function jsonRows(rows: readonly Row[]): string {
  return JSON.stringify(rows, (_, value: Value) => (typeof value === 'string' ? storableText(value) : value))
}

/** A list of texts as one parameter, for `json_array_elements_text($n::json)`. */
export function jsonTexts(texts: readonly string[]): string {
  return JSON.stringify(texts.map(storableText))
}

/** Writes records whose `keyOf` tells them apart: one statement cannot write the same row twice. */
export async function putAll<T>(
  session: Session,
  statement: string,
  put: {
    readonly mapping: Pick<Mapping<T>, 'columns' | 'values'>
    readonly records: readonly T[] | undefined
    readonly keyOf: (record: T) => string
    readonly common?: Row
  },
): Promise<void> {
  const { mapping, records = [], keyOf, common } = put
  if (records.length === 0) return
  const last = new Map(records.map((record) => [keyOf(record), record]))
  await session.run(statement, [rowsOf(mapping, [...last.values()], common)])
}

/** Conditions joined by AND, and their values, the first of which is `$<from>`. */
export function allOf(conditions: readonly Condition[], from: number): { sql: string; values: Value[] } {
  const sql = conditions.map(([condition], index) => condition.replaceAll('?', `$${from + index}`))
  return { sql: ['TRUE', ...sql].join(' AND '), values: conditions.map(([, value]) => value) }
}

/**
 * Deletes the rows that `condition` finds, up to its LIMIT. Those that another node has in hand are left to it: nobody
 * waits for anybody.
 */
export function deleteSome(table: string, condition: string): string {
  return `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ${table} WHERE ${condition} FOR UPDATE SKIP LOCKED))`
}

/**
 * Deletes what comes after the OFFSET of `condition`, and touches nothing before it: nodes that do so at the same time
 * leave as many rows as one alone.
 */
export function deleteBeyond(table: string, condition: string): string {
  return deleteSome(table, `ctid = ANY (ARRAY(SELECT ctid FROM ${table} WHERE ${condition}))`)
}
