import { actorOf } from '../evidence-rows.ts'
import type { AuditRow } from '../records.ts'
import { STOP_ACTIONS, type StopRecord } from './stop-store.ts'

const ACTIONS: ReadonlySet<string> = new Set(STOP_ACTIONS)

/** The stop that a row of the audit is; undefined for every other, such as a rotation that burns nothing yet. */
export function stopOf(row: AuditRow): StopRecord | undefined {
  if (!ACTIONS.has(row.action)) return undefined
  const after = (row.after ?? {}) as { epoch?: unknown; pattern?: unknown; keyId?: unknown }
  if (!Number.isSafeInteger(after.epoch)) return undefined
  return {
    orgId: row.orgId,
    epoch: after.epoch as number,
    action: row.action,
    deviceId: row.deviceId,
    pattern: textOf(after.pattern),
    keyId: textOf(after.keyId),
    by: actorOf(row),
    reason: row.reason,
    atMs: row.atMs,
  }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
