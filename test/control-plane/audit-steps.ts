import { expect } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import type { HttpAnswer } from '../fixtures/control-plane.ts'
import { drillReport } from '../fixtures/drill-report.ts'
import { OWNER, tokenIn, type TestRecovery } from '../fixtures/recovery.ts'

const DEVICE = 'openai-agent:test:payments:01'
const EMAIL = 'openai-agent:test:email:01'
const MINUTE_MS = 60_000

export type Asking = KeyKind | 'platform' | 'nobody'

/** What the steps happen to. It is there once the first one begins. */
export interface AuditWorld {
  readonly recovery: () => TestRecovery
  readonly post: (path: string, body: object, by: Asking, id?: string) => Promise<HttpAnswer>
  readonly nowMs: () => number
  /** Moves the clock of the control plane on. */
  readonly move: (ms: number) => void
}

/** One thing that somebody does, or that time brings about, and the rows that it leaves. */
export interface Step {
  readonly name: string
  readonly act: () => Promise<HttpAnswer | void>
  /** `actor`, `actorKind` and what each row says; the rest is the same for all. */
  readonly rows: () => readonly object[]
}

export const keyIdOf = (key: string) => key.split('_')[2] ?? ''
export const BY_PLATFORM = { actor: 'platform', actorKind: 'platform' }
const BY_ITSELF = { actor: 'local', actorKind: 'local', requestId: null, origin: null }

/** Every call that changes something, and some that do not, in an order in which each can be made. */
export function auditSteps({ recovery, post, nowMs, move }: AuditWorld): readonly Step[] {
  const actorOf = (kind: KeyKind) => ({ actor: keyIdOf(recovery().authority.keys[kind]), actorKind: kind })
  const lockId = expect.stringMatching(/^[0-9a-f-]{36}$/)
  const keyId = expect.stringMatching(/^[a-z2-7]{16}$/)
  const active = { revoked: false, removed: false, slot: 1, epoch: 0 }
  const free = { planTier: 'free', limit: 3 }
  let held = { lockId: '', epoch: 0 }
  const key = {
    keyId,
    kind: 'runtime',
    name: 'pod',
    bindings: ['a:*'],
    endsAtMs: null,
    endedAs: null,
    replacedBy: null,
  }
  /** The key that the steps issue, and the one that takes its place. */
  let issued = ''
  let replaced = ''

  const canary = 'openai-agent:test:canary:01'
  const counts = { aborted: 0, finished: 0, unknown: 0, running: 0 }

  return [
    {
      name: 'a drill is stored',
      act: () =>
        post(PATHS.drills, { report: drillReport(recovery().authority.orgId, 'drill-1') }, 'operator'),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'drill.store',
          after: { drillId: 'drill-1', held: true, reportSha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
        },
      ],
    },
    {
      name: 'a drill is stored that is there',
      act: () =>
        post(PATHS.drills, { report: drillReport(recovery().authority.orgId, 'drill-1') }, 'operator'),
      rows: () => [],
    },
    {
      name: 'a canary is cut off',
      act: () => post(PATHS.drillCut, { deviceId: canary, seconds: 0 }, 'operator'),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'drill.cut',
          deviceId: canary,
          after: { seconds: 0, until: expect.stringMatching(/Z$/) },
        },
      ],
    },
    {
      name: 'a replica acknowledges a stop, which is evidence and no change',
      act: () =>
        post(PATHS.stopsAck, { replica: 'r', acks: [{ epoch: 1, phase: 'settled', ...counts }] }, 'runtime'),
      rows: () => [],
    },
    {
      name: 'a replica says that it is there',
      act: () =>
        post(
          PATHS.presence,
          { replica: 'r', devices: [{ deviceId: DEVICE, inFlight: 0 }], timeoutMs: 2000, latencyMs: null },
          'runtime',
        ),
      rows: () => [],
    },
    {
      name: 'a device is registered',
      act: () => post(PATHS.register, { deviceId: DEVICE, labels: { v: '1' } }, 'runtime'),
      rows: () => [
        { ...actorOf('runtime'), action: 'device.register', deviceId: DEVICE, before: null, after: active },
      ],
    },
    {
      name: 'registered again',
      act: () => post(PATHS.register, { deviceId: DEVICE }, 'runtime'),
      rows: () => [],
    },
    {
      name: 'registered again with other labels by the agent itself',
      act: () => post(PATHS.register, { deviceId: DEVICE, labels: { v: '2' } }, 'runtime'),
      rows: () => [],
    },
    {
      name: 'registered again with other labels',
      act: () => post(PATHS.register, { deviceId: DEVICE, labels: { v: '2' } }, 'operator'),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'device.labels',
          deviceId: DEVICE,
          before: { v: '1' },
          after: { v: '2' },
        },
      ],
    },
    {
      name: 'a second device',
      act: () => post(PATHS.register, { deviceId: EMAIL }, 'full'),
      rows: () => [
        { ...actorOf('full'), action: 'device.register', deviceId: EMAIL, after: { ...active, slot: 2 } },
      ],
    },
    {
      name: 'a device is revoked',
      act: () =>
        post(PATHS.revoke, { deviceId: DEVICE, reason: 'leaked key', remindAfterSeconds: 60 }, 'stop'),
      rows: () => [
        {
          ...actorOf('stop'),
          action: 'device.revoke',
          deviceId: DEVICE,
          reason: 'leaked key',
          before: active,
          after: { ...active, revoked: true, epoch: 1 },
        },
      ],
    },
    {
      name: 'a preview of a revoke',
      act: () => post(`${PATHS.revoke}?preview=true`, { deviceId: DEVICE }, 'stop'),
      rows: () => [],
    },
    {
      name: 'a revoke of a device that is not there',
      act: () => post(PATHS.revoke, { deviceId: 'a:b:c:1' }, 'stop'),
      rows: () => [],
    },
    {
      name: 'a restore against a stale epoch',
      act: () => post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 7 }, 'operator'),
      rows: () => [],
    },
    {
      name: 'a key of the wrong kind',
      act: () => post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 1 }, 'runtime'),
      rows: () => [],
    },
    {
      name: 'a device is restored',
      act: () => post(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 1, reason: 'rotated' }, 'operator'),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'device.unrevoke',
          deviceId: DEVICE,
          reason: 'rotated',
          before: { ...active, revoked: true, epoch: 1 },
          after: { ...active, epoch: 2 },
        },
      ],
    },
    {
      name: 'several are revoked in one call: one row for each that is there',
      act: () =>
        post(PATHS.revokeBatch, { deviceIds: [EMAIL, 'a:b:c:1', DEVICE, EMAIL], reason: 'drill' }, 'stop'),
      rows: () =>
        [EMAIL, DEVICE].map((deviceId) => ({
          ...actorOf('stop'),
          action: 'device.revoke',
          deviceId,
          reason: 'drill',
          after: { ...active, revoked: true, epoch: 3, slot: deviceId === EMAIL ? 2 : 1 },
        })),
    },
    {
      name: 'several are restored in one call: one row for each that was',
      act: () =>
        post(
          PATHS.unrevokeBatch,
          {
            items: [
              { deviceId: EMAIL, ifEpoch: 3 },
              { deviceId: DEVICE, ifEpoch: 1 },
            ],
            reason: 'over',
          },
          'operator',
        ),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'device.unrevoke',
          deviceId: EMAIL,
          reason: 'over',
          after: { ...active, epoch: 4, slot: 2 },
        },
      ],
    },
    {
      name: 'a device is removed',
      act: () => post(PATHS.remove, { deviceId: DEVICE }, 'admin'),
      rows: () => [
        {
          ...actorOf('admin'),
          action: 'device.remove',
          deviceId: DEVICE,
          reason: null,
          after: { revoked: true, removed: true, slot: null, epoch: 5 },
        },
      ],
    },
    {
      name: 'a removed device comes back',
      act: () => post(PATHS.register, { deviceId: DEVICE, restoreRemoved: true, ifEpoch: 5 }, 'operator'),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'device.restore_removed',
          deviceId: DEVICE,
          before: { revoked: true, removed: true, slot: null, epoch: 5 },
          after: { revoked: true, removed: false, slot: 1, epoch: 6 },
        },
      ],
    },
    {
      name: 'a lock is set',
      act: async () => {
        const answer = await post(PATHS.locks, { pattern: 'openai-agent:test:*', reason: 'incident' }, 'stop')
        held = answer.body
        return answer
      },
      rows: () => [
        {
          ...actorOf('stop'),
          action: 'lock.add',
          deviceId: null,
          reason: 'incident',
          before: null,
          after: { lockId, pattern: 'openai-agent:test:*', active: true, epoch: 7 },
        },
      ],
    },
    {
      name: 'the same lock is set anew',
      act: async () => {
        const answer = await post(PATHS.locks, { pattern: 'openai-agent:test:*', reason: 'again' }, 'stop')
        held = answer.body
        return answer
      },
      rows: () => [
        {
          ...actorOf('stop'),
          action: 'lock.add',
          reason: 'again',
          before: { lockId, pattern: 'openai-agent:test:*', active: true, epoch: 7 },
          after: { lockId, pattern: 'openai-agent:test:*', active: true, epoch: 8 },
        },
      ],
    },
    {
      name: 'a release against a stale epoch',
      act: () => post(PATHS.lockRelease, { ifEpoch: 7 }, 'operator', held.lockId),
      rows: () => [],
    },
    {
      name: 'a lock is released',
      act: () => post(PATHS.lockRelease, { ifEpoch: held.epoch, reason: 'over' }, 'operator', held.lockId),
      rows: () => [
        {
          ...actorOf('operator'),
          action: 'lock.release',
          reason: 'over',
          before: { lockId: held.lockId, active: true, epoch: 8 },
          after: { lockId: held.lockId, active: false, epoch: 9 },
        },
      ],
    },
    {
      name: 'the org is disabled',
      act: () => post(PATHS.orgDisable, { reason: 'incident' }, 'stop'),
      rows: () => [
        {
          ...actorOf('stop'),
          action: 'org.disable',
          deviceId: null,
          reason: 'incident',
          before: { disabled: false, epoch: 0 },
          after: { disabled: true, epoch: 10 },
        },
      ],
    },
    {
      name: 'the org is enabled',
      act: () => post(PATHS.orgEnable, { ifEpoch: 10 }, 'admin'),
      rows: () => [
        {
          ...actorOf('admin'),
          action: 'org.enable',
          reason: null,
          before: { disabled: true, epoch: 10 },
          after: { disabled: false, epoch: 11 },
        },
      ],
    },
    {
      name: 'a key is issued',
      act: async () => {
        const answer = await post(PATHS.keys, { kind: 'runtime', name: 'pod', bindings: ['a:*'] }, 'admin')
        issued = answer.body.keyId
        return answer
      },
      rows: () => [
        { ...actorOf('admin'), action: 'key.issue', before: null, after: { ...key, keyId: issued } },
      ],
    },
    {
      name: 'a key is rotated with an overlap',
      act: async () => {
        const answer = await post(PATHS.keyRotate, { overlapSeconds: 60, reason: 'monthly' }, 'admin', issued)
        replaced = answer.body.keyId
        return answer
      },
      rows: () => [
        {
          ...actorOf('admin'),
          action: 'key.rotate',
          reason: 'monthly',
          before: { ...key, keyId: issued },
          after: { ...key, keyId: issued, endsAtMs: expect.any(Number), replacedBy: replaced },
        },
      ],
    },
    {
      name: 'the overlap ends by itself',
      act: async () => {
        move(2 * MINUTE_MS)
        await recovery().authority.controlPlane.housekeeping.tick()
        await recovery().authority.controlPlane.housekeeping.tick()
      },
      rows: () => [
        {
          ...BY_ITSELF,
          action: 'key.expired',
          after: { keyId: issued, replacedBy: replaced, endedAs: 'expired' },
        },
      ],
    },
    {
      name: 'a key is rotated without an overlap: a stop',
      act: async () => {
        const answer = await post(PATHS.keyRotate, { overlapSeconds: 0 }, 'full', replaced)
        issued = answer.body.keyId
        return answer
      },
      rows: () => [
        {
          ...actorOf('full'),
          action: 'key.rotate',
          after: { keyId: replaced, endedAs: 'burned', epoch: 12 },
        },
      ],
    },
    {
      name: 'a key is burned',
      act: () => post(PATHS.keyBurn, { reason: 'leaked' }, 'admin', issued),
      rows: () => [
        {
          ...actorOf('admin'),
          action: 'key.burn',
          reason: 'leaked',
          before: { keyId: issued, endedAs: null },
          after: { keyId: issued, endedAs: 'burned', epoch: 13 },
        },
      ],
    },
    {
      name: 'owners change',
      act: () => post(PATHS.orgOwners, { add: ['second@example.org'] }, 'admin'),
      rows: () => [
        {
          ...actorOf('admin'),
          action: 'org.owners',
          before: { owners: [OWNER] },
          after: { owners: [OWNER, 'second@example.org'] },
        },
      ],
    },
    {
      name: 'owners that are there already',
      act: () => post(PATHS.orgOwners, { add: [OWNER] }, 'admin'),
      rows: () => [],
    },
    {
      name: 'a recovery link is asked for',
      act: async () => {
        const answer = await post(PATHS.orgRecover, { email: OWNER }, 'nobody')
        await recovery().authority.controlPlane.recovery.flush()
        return answer
      },
      rows: () => [
        {
          actor: 'recovery',
          actorKind: 'recovery',
          action: 'org.recover_requested',
          after: { email: OWNER },
        },
      ],
    },
    {
      name: 'a recovery link that is none',
      act: () => post(PATHS.orgRecoverConfirm, { token: `hpr_${'a'.repeat(43)}` }, 'nobody'),
      rows: () => [],
    },
    {
      name: 'a recovery link is used',
      act: () =>
        post(PATHS.orgRecoverConfirm, { token: tokenIn(recovery().mailsTo(OWNER).at(-1)) }, 'nobody'),
      rows: () => [
        {
          actor: 'recovery',
          actorKind: 'recovery',
          action: 'org.recover',
          after: { keyId, kind: 'admin', email: OWNER },
        },
      ],
    },
    {
      name: 'the plan changes',
      act: () =>
        post(
          PATHS.orgPlan,
          {
            orgId: recovery().authority.orgId,
            tier: 'pro',
            state: 'canceled',
            accessUntil: new Date(nowMs() + MINUTE_MS).toISOString(),
          },
          'platform',
        ),
      rows: () => [
        {
          ...BY_PLATFORM,
          action: 'org.plan',
          before: { planTier: 'pro', planState: 'active' },
          after: { planTier: 'pro', planState: 'canceled', limit: 25 },
        },
      ],
    },
    {
      name: 'a canceled plan ends by itself',
      act: async () => {
        move(2 * MINUTE_MS)
        await recovery().authority.controlPlane.housekeeping.tick()
        await recovery().authority.controlPlane.housekeeping.tick()
      },
      rows: () => [
        {
          ...BY_ITSELF,
          action: 'org.plan_ended',
          before: { planState: 'canceled', limit: 25 },
          after: { planState: 'active', ...free },
        },
      ],
    },
    {
      name: 'validates',
      act: () =>
        recovery().authority.post(PATHS.validate, { deviceId: DEVICE }, recovery().authority.keys.runtime),
      rows: () => [],
    },
  ]
}
