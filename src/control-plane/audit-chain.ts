import { digestOf } from '../canonical-json.ts'
import type { AuditEntry, AuditRow } from './records.ts'

/** What comes before the first row of every chain. */
export const GENESIS = '0'.repeat(64)

/** `entry` as the next row of its org's chain. */
export function chained(
  orgId: string,
  previous: Pick<AuditRow, 'seq' | 'hash'> | undefined,
  entry: AuditEntry,
): AuditRow {
  const row = { ...entry, orgId, seq: (previous?.seq ?? 0) + 1, prevHash: previous?.hash ?? GENESIS }
  return { ...row, hash: rowHash(row) }
}

/** SHA-256 over everything a row says, its place and its predecessor included. */
export function rowHash(row: Omit<AuditRow, 'hash'>): string {
  const { orgId, seq, prevHash, id, atMs, actor, actorKind, requestId, origin, action, deviceId, reason } = row
  return digestOf({
    orgId,
    seq,
    prevHash,
    id,
    at: new Date(atMs).toISOString(),
    actor,
    actorKind,
    requestId,
    origin,
    action,
    deviceId,
    reason,
    before: row.before ?? null,
    after: row.after ?? null,
  })
}
