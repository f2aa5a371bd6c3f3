import type { SQLOutputValue } from 'node:sqlite'

import type {
  DenialRecord,
  DeviceRecord,
  KeyRecord,
  OrgRecord,
  PlanState,
} from '../../control-plane/store.ts'
import type { KeyKind, PlanTier } from '../../machineid/wire.ts'

export type Row = Record<string, SQLOutputValue>

// The tables are STRICT, so a column's type is known; these casts say it to the compiler.
const text = (value: SQLOutputValue | undefined): string => value as string
const textOrNull = (value: SQLOutputValue | undefined): string | null => value as string | null
const number = (value: SQLOutputValue | undefined): number => value as number
const numberOrNull = (value: SQLOutputValue | undefined): number | null => value as number | null

export const ORG_COLUMNS =
  'org_id, epoch, disabled, switch_epoch, switch_by, switch_reason, switch_at_ms, plan_tier, plan_state, cap, used'

export function orgOf(row: Row): OrgRecord {
  return {
    orgId: text(row['org_id']),
    epoch: number(row['epoch']),
    disabled: row['disabled'] !== 0,
    orgSwitch: {
      epoch: number(row['switch_epoch']),
      by: textOrNull(row['switch_by']),
      reason: textOrNull(row['switch_reason']),
      atMs: numberOrNull(row['switch_at_ms']),
    },
    planTier: text(row['plan_tier']) as PlanTier,
    planState: text(row['plan_state']) as PlanState,
    cap: number(row['cap']),
    used: number(row['used']),
  }
}

export function orgValues(org: OrgRecord) {
  return [
    org.orgId,
    org.epoch,
    Number(org.disabled),
    org.orgSwitch.epoch,
    org.orgSwitch.by,
    org.orgSwitch.reason,
    org.orgSwitch.atMs,
    org.planTier,
    org.planState,
    org.cap,
    org.used,
  ]
}

export const DEVICE_COLUMNS =
  'device_id, revoked, removed, slot, epoch, reason, labels, created_at_ms, changed_at_ms'

export function deviceOf(row: Row): DeviceRecord {
  return {
    deviceId: text(row['device_id']),
    revoked: row['revoked'] !== 0,
    removed: row['removed'] !== 0,
    slot: numberOrNull(row['slot']),
    epoch: number(row['epoch']),
    reason: textOrNull(row['reason']),
    labels: JSON.parse(text(row['labels'])) as Record<string, string>,
    createdAtMs: number(row['created_at_ms']),
    changedAtMs: number(row['changed_at_ms']),
  }
}

export function deviceValues(device: DeviceRecord) {
  return [
    device.deviceId,
    Number(device.revoked),
    Number(device.removed),
    device.slot,
    device.epoch,
    device.reason,
    JSON.stringify(device.labels),
    device.createdAtMs,
    device.changedAtMs,
  ]
}

export const KEY_COLUMNS = 'key_id, org_id, kind, digest, bindings'

export function keyOf(row: Row): KeyRecord {
  return {
    keyId: text(row['key_id']),
    orgId: text(row['org_id']),
    kind: text(row['kind']) as KeyKind,
    digest: text(row['digest']),
    bindings: bindingsOf(row['bindings']),
  }
}

export function bindingsOf(value: SQLOutputValue | undefined): readonly string[] | null {
  return value === null ? null : (JSON.parse(text(value)) as string[])
}

export function keyValues(key: KeyRecord) {
  const bindings = key.bindings === null ? null : JSON.stringify(key.bindings)
  return [key.keyId, key.orgId, key.kind, key.digest, bindings]
}

export const DENIAL_COLUMNS =
  'request_id, ordinal, org_id, key_id, device_id, code, asked, boundary, tool, call_id, run_id, replica, at_ms'

export function denialOf(row: Row): DenialRecord {
  return {
    requestId: text(row['request_id']),
    ordinal: number(row['ordinal']),
    orgId: text(row['org_id']),
    keyId: text(row['key_id']),
    deviceId: text(row['device_id']),
    code: text(row['code']),
    asked: text(row['asked']) as DenialRecord['asked'],
    boundary: textOrNull(row['boundary']),
    tool: textOrNull(row['tool']),
    callId: textOrNull(row['call_id']),
    runId: textOrNull(row['run_id']),
    replica: textOrNull(row['replica']),
    atMs: number(row['at_ms']),
  }
}

export function denialValues(denial: DenialRecord) {
  return [
    denial.requestId,
    denial.ordinal,
    denial.orgId,
    denial.keyId,
    denial.deviceId,
    denial.code,
    denial.asked,
    denial.boundary,
    denial.tool,
    denial.callId,
    denial.runId,
    denial.replica,
    denial.atMs,
  ]
}

/** `?, ?, ?` for as many columns as are listed. */
export function placeholders(columns: string): string {
  return columns.replaceAll(/[a-z_]+/g, '?')
}
