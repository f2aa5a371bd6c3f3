import { z } from 'zod'

import { AuditRowBody, DecisionRow } from '../machineid/wire-evidence.ts'
import type { AuditRow, DecisionRecord } from './records.ts'

// How evidence looks over the wire and in an export, and back.

export type AuditBody = z.infer<typeof AuditRowBody>

export function auditBody({
  orgId,
  seq,
  id,
  atMs,
  before,
  after,
  prevHash,
  hash,
  ...row
}: AuditRow): AuditBody {
  const { actor, actorKind, requestId, origin, action, deviceId, reason } = row
  return {
    orgId,
    seq,
    id,
    at: new Date(atMs).toISOString(),
    actor,
    actorKind,
    requestId,
    origin,
    action,
    deviceId,
    reason,
    before: before ?? null,
    after: after ?? null,
    prevHash,
    hash,
  }
}

/** For example `stop:mfzwizltoq2gc3tu`, or `platform`. */
export function actorOf({ actor, actorKind }: AuditRow): string {
  return actorKind === null || actorKind === actor ? actor : `${actorKind}:${actor}`
}

/** A member that is not known here is covered by no hash. */
const ExportedRow = AuditRowBody.strict()

/** The row of an export; undefined for anything that no export says. */
export function auditRowOf(body: unknown): AuditRow | undefined {
  const parsed = ExportedRow.safeParse(body)
  if (!parsed.success) return undefined
  const { at, ...row } = parsed.data
  const atMs = Date.parse(at)
  return new Date(atMs).toISOString() === at ? { ...row, atMs } : undefined
}

export function decisionBody({
  requestId,
  orgId: _org,
  ordinal: _place,
  atMs,
  ...record
}: DecisionRecord): z.infer<typeof DecisionRow> {
  const { deviceId, code, asked, boundary, tool, callId, runId, replica, keyId } = record
  return {
    request_id: requestId,
    deviceId,
    allowed: code === 'ALLOW',
    code,
    asked,
    boundary,
    tool,
    callId,
    runId,
    replica,
    keyId,
    at: new Date(atMs).toISOString(),
  }
}
