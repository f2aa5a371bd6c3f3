import { uuidv7 } from '../../src/control-plane/ids.ts'
import type {
  AuditEntry,
  DecisionRecord,
  DeviceRecord,
  KeyRecord,
  LockRecord,
  OrgRecord,
  RecoveryLinkRecord,
} from '../../src/control-plane/records.ts'

// Records for tests of stores, each with every member set.

export const ORG: OrgRecord = {
  orgId: 'o_contract',
  epoch: 0,
  disabled: false,
  orgSwitch: { epoch: 0, by: null, reason: null, atMs: null },
  planTier: 'pro',
  planState: 'active',
  accessUntilMs: null,
  cap: 25,
  used: 0,
  activeLocks: 0,
}

export const KEY: KeyRecord = {
  keyId: 'abcdefghijklmnop',
  orgId: ORG.orgId,
  kind: 'runtime',
  name: 'checkout',
  digest: 'ab'.repeat(32),
  bindings: ['a:b:*'],
  createdAtMs: 1_000,
  createdBy: 'local',
  endsAtMs: null,
  endedAtMs: null,
  endedAs: null,
  replacedBy: null,
}

export function keyRecord(keyId: string, changes: Partial<KeyRecord> = {}): KeyRecord {
  return { ...KEY, keyId, ...changes }
}

/** Without a slot it is a tombstone. */
export function deviceRecord(
  deviceId: string,
  slot: number | null,
  changes: Partial<DeviceRecord> = {},
): DeviceRecord {
  return {
    deviceId,
    revoked: false,
    removed: slot === null,
    slot,
    epoch: 0,
    reason: null,
    remindAtMs: null,
    labels: { team: 'billing' },
    createdAtMs: 1_000,
    changedAtMs: 2_000,
    ...changes,
  }
}

export function lockRecord(lockId: string, pattern: string, changes: Partial<LockRecord> = {}): LockRecord {
  return {
    lockId,
    pattern,
    active: true,
    epoch: 5,
    reason: 'incident 7',
    by: KEY.keyId,
    remindAtMs: null,
    createdAtMs: 3_000,
    changedAtMs: 3_000,
    ...changes,
  }
}

export function linkRecord(digit: string, changes: Partial<RecoveryLinkRecord> = {}): RecoveryLinkRecord {
  return {
    digest: digit.repeat(64),
    orgId: ORG.orgId,
    email: 'owner@example.com',
    createdAtMs: 4_000,
    expiresAtMs: 5_000,
    usedAtMs: null,
    ...changes,
  }
}

export function auditEntry(action = 'test', changes: Partial<AuditEntry> = {}): AuditEntry {
  return {
    id: uuidv7(1),
    atMs: 1,
    actor: 'local',
    actorKind: 'local',
    requestId: null,
    origin: null,
    action,
    deviceId: null,
    reason: null,
    before: null,
    after: null,
    ...changes,
  }
}

/** Of a question of its own, unless a `requestId` is given. */
export function decisionRecord(atMs: number, changes: Partial<DecisionRecord> = {}): DecisionRecord {
  return {
    requestId: uuidv7(atMs),
    ordinal: 0,
    orgId: ORG.orgId,
    keyId: KEY.keyId,
    deviceId: 'a:b:c',
    code: 'DEVICE_REVOKED',
    asked: 'validate',
    boundary: 'tool',
    tool: 'send_payment',
    callId: 'call_1',
    runId: null,
    replica: null,
    atMs,
    ...changes,
  }
}
