import type { AuditFilter, DecisionFilter } from '../control-plane/store.ts'
import type { Value } from './control-plane-rows.ts'

/** A condition in SQL, with a `?` for each place of its value. */
export type Condition = readonly [sql: string, value: Value]

/** Where a question's time and that of its decision may differ; far more than a question takes. */
const SLACK_MS = 60_000

/** What fits, but for the device. */
export function decisionConditions(filter: DecisionFilter, before: string | undefined): Condition[] {
  const { requestId, code, boundary, allowed, fromMs, toMs } = filter
  return given([
    ['request_id < ?', before],
    ['request_id = ?', requestId],
    // The times bound the ids, so that no more rows are read than lie between them.
    ['request_id >= ?', fromMs === undefined ? undefined : firstIdAt(fromMs - SLACK_MS)],
    ['request_id < ?', toMs === undefined ? undefined : firstIdAt(toMs + SLACK_MS)],
    ['at_ms >= ?', fromMs],
    ['at_ms < ?', toMs],
    ['code = ?', code],
    ['boundary = ?', boundary],
    ["CASE WHEN code = 'ALLOW' THEN 1 ELSE 0 END = ?", allowed === undefined ? undefined : Number(allowed)],
  ])
}

/** What fits, but for the device. */
export function auditConditions({ action, actor, fromMs, toMs }: AuditFilter): Condition[] {
  return given([
    ["(action = ? OR substr(action, 1, length(?) + 1) = ? || '.')", action],
    ['actor = ?', actor],
    ['at_ms >= ?', fromMs],
    ['at_ms < ?', toMs],
  ])
}

function given(all: readonly (readonly [sql: string, value: Value | undefined])[]): Condition[] {
  return all.filter((condition): condition is Condition => condition[1] !== undefined)
}

/** What every UUIDv7 made at or after `atMs` is not below. */
export function firstIdAt(atMs: number): string {
  const hex = Math.min(Math.max(0, Math.ceil(atMs)), 2 ** 48 - 1)
    .toString(16)
    .padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}`
}
