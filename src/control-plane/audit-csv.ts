import type { AuditBody } from './evidence-rows.ts'

// An export for a spreadsheet: RFC 4180, with a header row. Reasons and device IDs are whatever somebody chose.

const COLUMNS = [
  'orgId',
  'seq',
  'id',
  'at',
  'actor',
  'actorKind',
  'requestId',
  'origin',
  'action',
  'deviceId',
  'reason',
  'before',
  'after',
  'prevHash',
  'hash',
] as const satisfies readonly (keyof AuditBody)[]

/** With its line end, as every line. */
export const CSV_HEADER = `${COLUMNS.join(',')}\r\n`

export function csvLine(row: AuditBody): string {
  return `${COLUMNS.map((name) => cell(row[name])).join(',')}\r\n`
}

/**
 * Where a spreadsheet takes what follows for a formula; the wide signs are typed in East Asian text. Where decimals have a
 * comma it parts at semicolons, and then no quote that stands within a line holds a cell together.
 */
const FORMULA = /^(?=[=+\-@\t\r\n＝＋－＠])|(?<=[;\t\r\n])(?=[=+\-@＝＋－＠])/g

function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const defused = text.replaceAll(FORMULA, "'")
  return /[",\r\n]/.test(defused) ? `"${defused.replaceAll('"', '""')}"` : defused
}
