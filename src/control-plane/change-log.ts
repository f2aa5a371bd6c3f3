import type { Logger } from '../log.ts'
import { actorOf } from './evidence-rows.ts'
import type { AuditRow } from './records.ts'

/** What a person may want to see happen, by the action of the audit row. Other changes have only that row. */
const MESSAGES: Readonly<Record<string, string>> = {
  'device.revoke': 'device revoked',
  'device.unrevoke': 'device restored',
  'device.restore_removed': 'device restored',
  'device.remove': 'device removed',
  'lock.add': 'lock added',
  'lock.release': 'lock released',
  'key.issue': 'key issued',
  'key.rotate': 'key rotated',
  'key.burn': 'key burned',
  'org.disable': 'org disabled',
  'org.enable': 'org enabled',
  'org.plan': 'plan changed',
  'org.plan_ended': 'canceled plan ended, the org is on the free plan',
  'drill.store': 'drill stored and signed',
  'drill.cut': 'questions of a canary get no answer for a while',
  'approval.approve': 'call approved',
  'approval.decline': 'call declined',
  'org.create': 'org created',
  'org.owners': 'owners changed',
  'org.recover_requested': 'recovery link made',
  'session.start': 'a person signed in',
  'session.end': 'a session ended',
  'org.recover': 'admin key recovered by mail',
}

/**
 * Logs one line per stop, restore and change of an org, once it is durable (G5). Each names its audit row: who
 * keeps the log elsewhere can tell when rows were cut off the end of the chain.
 */
export function logChanges(log: Logger, rows: readonly AuditRow[]): void {
  for (const row of rows) {
    const message = MESSAGES[row.action]
    if (message !== undefined) log.info(lineOf(row), message)
  }
}

function lineOf(row: AuditRow) {
  const { orgId, seq, hash, deviceId, reason, requestId, origin } = row
  const after = (row.after ?? {}) as {
    epoch?: unknown
    pattern?: unknown
    keyId?: unknown
    approvalId?: unknown
  }
  return {
    ...(deviceId !== null && { device_id: deviceId }),
    ...(after.pattern !== undefined && { pattern: after.pattern }),
    ...(after.keyId !== undefined && { key_id: after.keyId }),
    ...(after.approvalId !== undefined && { approval_id: after.approvalId }),
    org_id: orgId,
    ...(after.epoch !== undefined && { epoch: after.epoch }),
    actor: actorOf(row),
    ...(origin !== null && { origin }),
    ...(reason !== null && { reason }),
    ...(requestId !== null && { request_id: requestId }),
    audit: `${seq}:${hash.slice(0, 16)}`,
  }
}
