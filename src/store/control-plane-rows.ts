import type {
  AuditRow,
  DecisionRecord,
  DeviceRecord,
  KeyRecord,
  LockRecord,
  OrgRecord,
  RecoveryLinkRecord,
} from '../control-plane/records.ts'

/** What a column holds, in both databases: flags are 0 and 1, JSON is text. */
export type Value = string | number | bigint | Uint8Array | null
export type Row = Record<string, Value>

/** How the members of a record lie in the columns of a table, whose types both databases enforce. */
export interface Mapping<T> {
  readonly columns: readonly string[]
  /** The columns, with commas between. */
  readonly list: string
  readonly of: (row: Row) => T
  readonly values: (record: T) => Value[]
}

interface Column {
  readonly column: string
  readonly read: (value: Value) => unknown
  readonly write: (value: unknown) => Value
}

export function mapping<T extends object>(members: {
  readonly [Name in keyof T]-?: string | Column
}): Mapping<T> {
  const each = Object.entries<string | Column>(members).map(([name, member]) => ({
    name,
    ...(typeof member === 'string' ? plain(member) : member),
  }))
  const columns = each.map(({ column }) => column)
  return {
    columns,
    list: columns.join(', '),
    of: (row) => {
      const record: Record<string, unknown> = {}
      for (const { name, column, read } of each) record[name] = read(row[column] ?? null)
      return record as T
    },
    values: (record) => each.map(({ name, write }) => write(record[name as keyof T])),
  }
}

const plain = (column: string): Column => ({
  column,
  read: (value) => value,
  write: (value) => value as Value,
})
const flag = (column: string): Column => ({
  column,
  read: (value) => value !== 0,
  write: (value) => Number(value),
})
export const json = (column: string): Column => ({
  column,
  read: (value) => jsonOf(value),
  write: (value) => (value === null || value === undefined ? null : JSON.stringify(value)),
})

export function jsonOf(value: Value | undefined): unknown {
  return typeof value === 'string' ? JSON.parse(value) : null
}

const flatOrgs = mapping<
  Omit<OrgRecord, 'orgSwitch'> & { [Name in keyof OrgRecord['orgSwitch'] as `switch:${Name}`]: unknown }
>({
  orgId: 'org_id',
  epoch: 'epoch',
  disabled: flag('disabled'),
  'switch:epoch': 'switch_epoch',
  'switch:by': 'switch_by',
  'switch:reason': 'switch_reason',
  'switch:atMs': 'switch_at_ms',
  planTier: 'plan_tier',
  planState: 'plan_state',
  accessUntilMs: 'access_until_ms',
  cap: 'cap',
  used: 'used',
  activeLocks: 'active_locks',
})

export const orgs: Mapping<OrgRecord> = {
  ...flatOrgs,
  of: (row) => {
    const {
      'switch:epoch': epoch,
      'switch:by': by,
      'switch:reason': reason,
      'switch:atMs': atMs,
      ...org
    } = flatOrgs.of(row)
    return { ...org, orgSwitch: { epoch, by, reason, atMs } as OrgRecord['orgSwitch'] }
  },
  values: ({ orgSwitch, ...org }) =>
    flatOrgs.values({
      ...org,
      'switch:epoch': orgSwitch.epoch,
      'switch:by': orgSwitch.by,
      'switch:reason': orgSwitch.reason,
      'switch:atMs': orgSwitch.atMs,
    }),
}

/** Without the org, which is the first part of the key. */
export const devices = mapping<DeviceRecord>({
  deviceId: 'device_id',
  revoked: flag('revoked'),
  removed: flag('removed'),
  slot: 'slot',
  epoch: 'epoch',
  reason: 'reason',
  remindAtMs: 'remind_at_ms',
  labels: json('labels'),
  createdAtMs: 'created_at_ms',
  changedAtMs: 'changed_at_ms',
})

/** Without the org. */
export const locks = mapping<LockRecord>({
  lockId: 'lock_id',
  pattern: 'pattern',
  active: flag('active'),
  epoch: 'epoch',
  reason: 'reason',
  by: 'locked_by',
  remindAtMs: 'remind_at_ms',
  createdAtMs: 'created_at_ms',
  changedAtMs: 'changed_at_ms',
})

export const keys = mapping<KeyRecord>({
  keyId: 'key_id',
  orgId: 'org_id',
  kind: 'kind',
  name: 'name',
  digest: 'digest',
  bindings: json('bindings'),
  createdAtMs: 'created_at_ms',
  createdBy: 'created_by',
  endsAtMs: 'ends_at_ms',
  endedAtMs: 'ended_at_ms',
  endedAs: 'ended_as',
  replacedBy: 'replaced_by',
})

export const links = mapping<RecoveryLinkRecord>({
  digest: 'digest',
  orgId: 'org_id',
  email: 'email',
  createdAtMs: 'created_at_ms',
  expiresAtMs: 'expires_at_ms',
  usedAtMs: 'used_at_ms',
})

export const audit = mapping<AuditRow>({
  orgId: 'org_id',
  seq: 'seq',
  prevHash: 'prev_hash',
  hash: 'hash',
  id: 'id',
  atMs: 'at_ms',
  actor: 'actor',
  actorKind: 'actor_kind',
  requestId: 'request_id',
  origin: 'origin',
  action: 'action',
  deviceId: 'device_id',
  reason: 'reason',
  before: json('before'),
  after: json('after'),
})

export const decisions = mapping<DecisionRecord>({
  orgId: 'org_id',
  requestId: 'request_id',
  ordinal: 'ordinal',
  keyId: 'key_id',
  deviceId: 'device_id',
  code: 'code',
  asked: 'asked',
  boundary: 'boundary',
  tool: 'tool',
  callId: 'call_id',
  runId: 'run_id',
  replica: 'replica',
  atMs: 'at_ms',
})
