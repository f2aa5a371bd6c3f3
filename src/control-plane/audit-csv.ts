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

/** What a spreadsheet takes for the beginning of a formula; the wide ones are typed in East Asian text. */
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/

function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const defused = FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(defused) ? `"${defused.replaceAll('"', '""')}"` : defused
}
