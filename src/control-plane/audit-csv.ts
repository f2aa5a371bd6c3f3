import { csvLine } from '../csv.ts'
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
export const CSV_HEADER = csvLine(COLUMNS)

export function auditCsvLine(row: AuditBody): string {
  return csvLine(COLUMNS.map((name) => row[name]))
}
