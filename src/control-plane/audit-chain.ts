import { hash } from 'node:crypto'

import { canonicalJson } from '../canonical-json.ts'
import type { AuditEntry, AuditRow } from './records.ts'

/** What comes before the first row of every chain. */
export const GENESIS = '0'.repeat(64)

/** An entry that says no more than is given. */
export function auditEntry(
  given: Pick<AuditEntry, 'id' | 'atMs' | 'actor' | 'action'> & Partial<AuditEntry>,
): AuditEntry {
  return {
    actorKind: null,
    requestId: null,
    origin: null,
    deviceId: null,
    reason: null,
    before: null,
    after: null,
    ...given,
  }
}

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
  return hash('sha256', rowText(row), 'hex')
}

/** The canonical JSON of a row. Its members are written in the order of their names, so that nobody has to sort them. */
function rowText(row: Omit<AuditRow, 'hash'>): string {
  const text = JSON.stringify
  return (
    `{"action":${text(row.action)},"actor":${text(row.actor)},"actorKind":${text(row.actorKind)},` +
    `"after":${canonicalJson(row.after)},"at":"${new Date(row.atMs).toISOString()}","before":${canonicalJson(row.before)},` +
    `"deviceId":${text(row.deviceId)},"id":${text(row.id)},"orgId":${text(row.orgId)},"origin":${text(row.origin)},` +
    `"prevHash":${text(row.prevHash)},"reason":${text(row.reason)},"requestId":${text(row.requestId)},"seq":${text(row.seq)}}`
  )
}
