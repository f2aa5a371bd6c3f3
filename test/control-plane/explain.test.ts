import { describe, expect, test } from 'vitest'

import { explain, type DecisionFacts } from '../../src/control-plane/explain.ts'
import type {
  AuditRow,
  DecisionRecord,
  KeyRecord,
  LockRecord,
  OrgRecord,
} from '../../src/control-plane/records.ts'
import { AUTHORITY_DENIAL_CODES } from '../../src/machineid/wire.ts'

const ID = 'openai-agent:prod:payments:01'
const AT = Date.UTC(2026, 0, 2, 3, 4, 5)

const org: OrgRecord = {
  orgId: 'o_org',
  epoch: 41,
  disabled: false,
  orgSwitch: { epoch: 0, by: null, reason: null, atMs: null },
  planTier: 'pro',
  planState: 'active',
  accessUntilMs: null,
  cap: 25,
  used: 1,
  activeLocks: 0,
}
const device = { revoked: false, removed: false, slot: 1, epoch: 0, locked: false }
const key: KeyRecord = {
  keyId: 'runtimekeyruntim',
  orgId: 'o_org',
  kind: 'runtime',
  name: null,
  digest: '',
  bindings: null,
  createdAtMs: 0,
  createdBy: 'local',
  endsAtMs: null,
  endedAtMs: null,
  endedAs: null,
  replacedBy: null,
}
const decision: DecisionRecord = {
  requestId: '019b7d6f-0000-7000-8000-000000000000',
  ordinal: 0,
  orgId: 'o_org',
  keyId: key.keyId,
  deviceId: ID,
  code: 'ALLOW',
  asked: 'validate',
  boundary: 'tool',
  tool: null,
  callId: null,
  runId: null,
  replica: null,
  atMs: AT + 1000,
}
const lock: LockRecord = {
  lockId: 'lock-1',
  pattern: 'openai-agent:prod:payments:*',
  active: true,
  epoch: 7,
  reason: 'drill',
  by: 'stopkeystopkeyst',
  remindAtMs: null,
  createdAtMs: AT,
  changedAtMs: AT,
}
const stop = (action: string, after: object, more: Partial<AuditRow> = {}): AuditRow => ({
  orgId: 'o_org',
  seq: 3,
  prevHash: '',
  hash: '',
  id: '',
  atMs: AT,
  actor: 'stopkeystopkeyst',
  actorKind: 'stop',
  requestId: null,
  origin: null,
  action,
  deviceId: null,
  reason: 'leaked key',
  before: null,
  after,
  ...more,
})

type Told = Partial<Omit<DecisionFacts, 'decision'>> & { readonly code?: string; readonly asked?: 'register' }
const told = ({ code = 'ALLOW', asked = 'validate' as never, ...facts }: Told = {}) =>
  explain({
    decision: { ...decision, code, asked },
    stop: undefined,
    key,
    org,
    device,
    locks: [],
    nowMs: AT + 60_000,
    ...facts,
  })

const BY = 'by stop:stopkeystopkeyst at 2026-01-02T03:04:05.000Z: "leaked key"'
const RESTORE = 'with a key of kind operator, admin or full'

test('a revoked device: who revoked it, when and why, and the call that restores it with the epoch to give', () => {
  const facts = { code: 'DEVICE_REVOKED', device: { ...device, revoked: true, epoch: 41 } }
  expect(told({ ...facts, stop: stop('device.revoke', { revoked: true, epoch: 41 }) })).toEqual({
    why: `${ID} was revoked ${BY}.`,
    stop: {
      action: 'device.revoke',
      by: 'stop:stopkeystopkeyst',
      at: '2026-01-02T03:04:05.000Z',
      reason: 'leaked key',
      epoch: 41,
    },
    now: 'DEVICE_REVOKED',
    next: [`POST /api/v1/devices/unrevoke {"deviceId":"${ID}","ifEpoch":41} ${RESTORE}`],
  })
  // Its row may be gone; the sentence is whole all the same.
  expect(told(facts)).toMatchObject({ why: `${ID} was revoked.`, stop: null })
})

test('restored since: nothing is to be done', () => {
  const { now, next } = told({ code: 'DEVICE_REVOKED', device: { ...device, epoch: 42 } })
  expect({ now, next }).toEqual({
    now: 'ALLOW',
    next: ['Nothing is to be done: a validate would be allowed now.'],
  })
})

test('a disabled org', () => {
  const disabled = { ...org, disabled: true, orgSwitch: { ...org.orgSwitch, epoch: 40 } }
  expect(
    told({ code: 'ORG_DISABLED', org: disabled, stop: stop('org.disable', { disabled: true, epoch: 40 }) }),
  ).toMatchObject({
    why: `The whole org was disabled ${BY}.`,
    stop: { epoch: 40 },
    now: 'ORG_DISABLED',
    next: ['POST /api/v1/org/enable {"ifEpoch":40} with a key of kind admin or full'],
  })
})

test('a plan that is not active, which only the platform changes', () => {
  const by = { actor: 'platform', actorKind: 'platform', reason: null }
  const frozen = stop('org.plan', { planState: 'frozen', limit: 25 }, by)
  expect(told({ code: 'PLAN_NOT_ACTIVE', org: { ...org, planState: 'frozen' }, stop: frozen })).toMatchObject(
    {
      why: 'The plan of the org was set to frozen by platform at 2026-01-02T03:04:05.000Z.',
      stop: { by: 'platform', reason: null, epoch: null },
      now: 'PLAN_NOT_ACTIVE',
      next: ['POST /api/v1/org/plan {"orgId":"o_org","tier":"pro"} with the platform token'],
    },
  )
  const custom: OrgRecord = { ...org, planTier: 'custom', planState: 'unpaid', cap: 40 }
  expect(told({ code: 'PLAN_NOT_ACTIVE', org: custom }).next).toEqual([
    'POST /api/v1/org/plan {"orgId":"o_org","tier":"custom","limit":40} with the platform token',
  ])
})

test('a device that was never registered', () => {
  expect(told({ code: 'DEVICE_NOT_REGISTERED', device: undefined })).toMatchObject({
    why: `This org had no device ${ID}.`,
    stop: null,
    now: 'DEVICE_NOT_REGISTERED',
    next: [
      `If the process is meant to be ${ID}: POST /api/v1/devices/register {"deviceId":"${ID}"} with a key of kind runtime, operator, admin or full`,
    ],
  })
})

test('a cap that was reached: what makes room comes first', () => {
  const full = { ...org, planTier: 'free', cap: 3, used: 3 } as const
  expect(
    told({ code: 'DEVICE_LIMIT_REACHED', asked: 'register', device: undefined, org: full }),
  ).toMatchObject({
    why: `${ID} could not be registered: every slot of the plan was taken.`,
    now: 'DEVICE_NOT_REGISTERED',
    next: [
      `Every slot is taken (3 of 3). Remove a device that is not needed: POST /api/v1/devices/remove {"deviceId":"…"} ${RESTORE}`,
      'Or make the plan larger: POST /api/v1/org/plan {"orgId":"o_org","tier":"pro"} with the platform token',
      expect.stringContaining('POST /api/v1/devices/register'),
    ],
  })
})

test('a removed device comes back against its epoch; a revoked one is then revoked still', () => {
  const removed = { ...device, removed: true, slot: null, epoch: 12 }
  const row = stop('device.remove', { removed: true, epoch: 12 })
  const comesBack = `POST /api/v1/devices/register {"deviceId":"${ID}","restoreRemoved":true,"ifEpoch":12} ${RESTORE}`
  expect(told({ code: 'DEVICE_REMOVED', device: removed, stop: row })).toMatchObject({
    why: `${ID} was removed ${BY}.`,
    now: 'DEVICE_REMOVED',
    next: [comesBack],
  })
  expect(told({ code: 'DEVICE_REMOVED', device: { ...removed, revoked: true } }).next).toEqual([
    comesBack,
    `Then, with the epoch that this answers: POST /api/v1/devices/unrevoke {"deviceId":"${ID}","ifEpoch":"…"} ${RESTORE}`,
  ])
})

test('locks: each that holds the device is to be released against its own epoch', () => {
  const second = { ...lock, lockId: 'lock-2', pattern: '*', epoch: 9 }
  const row = stop('lock.add', { lockId: 'lock-1', pattern: lock.pattern, active: true, epoch: 7 })
  expect(told({ code: 'DEVICE_LOCKED', locks: [lock, second], stop: row })).toMatchObject({
    why: `${ID} was stopped by the lock on openai-agent:prod:payments:*, set ${BY}.`,
    stop: { action: 'lock.add', epoch: 7 },
    now: 'DEVICE_LOCKED',
    next: [
      `POST /api/v1/locks/lock-1/release {"ifEpoch":7} ${RESTORE}`,
      `POST /api/v1/locks/lock-2/release {"ifEpoch":9} ${RESTORE}`,
    ],
  })
  expect(told({ code: 'DEVICE_LOCKED' }).why).toBe(`A lock stopped ${ID}.`)
})

test('over the limit after a downgrade: the plan that has room for its slot', () => {
  const row = stop(
    'org.plan',
    { planState: 'active', limit: 3 },
    { actor: 'platform', actorKind: 'platform' },
  )
  const free = { ...org, planTier: 'free', cap: 3 } as const
  const facts = { code: 'DEVICE_OVER_LIMIT', org: free, stop: row }
  expect(told({ ...facts, device: { ...device, slot: 26 } })).toMatchObject({
    why: `${ID} has a slot above what the plan has room for, which is 3 devices since it was changed by platform at 2026-01-02T03:04:05.000Z.`,
    now: 'DEVICE_OVER_LIMIT',
    next: [
      'Make the plan larger: POST /api/v1/org/plan {"orgId":"o_org","tier":"scale"} with the platform token',
      expect.stringMatching(/^Or remove a device/),
    ],
  })
  expect(told({ ...facts, device: { ...device, slot: 1001 } }).next[0]).toContain(
    '"tier":"custom","limit":1001',
  )
})

test('an allow', () => {
  expect(told()).toMatchObject({ why: `${ID} was allowed.`, stop: null, now: 'ALLOW' })
})

test('everything that is in the way now is listed, in the order in which it is told', () => {
  const { now, next } = told({
    code: 'DEVICE_REVOKED',
    org: { ...org, disabled: true },
    device: { ...device, revoked: true, epoch: 3, slot: 99 },
    locks: [lock],
  })
  expect(now).toBe('ORG_DISABLED')
  expect(next.map((step) => step.split(' ').find((word) => word.startsWith('/')))).toEqual([
    '/api/v1/org/enable',
    '/api/v1/devices/unrevoke',
    '/api/v1/locks/lock-1/release',
    '/api/v1/org/plan',
    undefined,
  ])
})

describe('the key that asked', () => {
  const issue = `Issue another: POST /api/v1/org/keys {"kind":"runtime","bindings":["${ID}"]} with a key of kind admin or full`
  test.each([
    [{ ...key, endedAs: 'burned', endedAtMs: AT } as const, 'KEY_BURNED'],
    [{ ...key, endsAtMs: AT }, 'KEY_EXPIRED'],
    [undefined, 'KEY_INVALID'],
  ])('no longer good: %#', (ended, code) => {
    expect(told({ key: ended }).next).toEqual([
      `The key that asked, ${key.keyId}, is no longer good (${code}). ${issue}`,
    ])
  })
})

test('every code of the authority has a sentence of its own, and a code of a later version one too', () => {
  for (const code of [...AUTHORITY_DENIAL_CODES, 'DEVICE_LIMIT_REACHED']) {
    expect(told({ code }).why).not.toContain(code)
  }
  expect(told({ code: 'SOMETHING_NEW' }).why).toBe(`${ID} was denied with SOMETHING_NEW by validate.`)
})
