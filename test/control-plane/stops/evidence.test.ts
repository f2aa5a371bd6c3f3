import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import {
  ReplicasResponse,
  StopHistoryResponse,
  type StopAckBody,
  type StopBody,
} from '../../../src/machineid/wire-stops.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const OTHER = 'openai-agent:test:email:01'
const NONE = { aborted: 0, finished: 0, unknown: 0, running: 0 }

let nowMs = Date.UTC(2026, 10, 22)
const clock = { now: () => ({ monotonicMs: nowMs, wallMs: nowMs }) }
let authority: TestControlPlane
beforeEach(async () => {
  authority = await startTestControlPlane({ clock, bindings: ['openai-agent:test:*'] })
  await authority.register(DEVICE)
  await authority.register(OTHER)
})
afterEach(() => authority.close())

const present = (replica: string, deviceId = DEVICE, more = {}) =>
  authority.post(
    PATHS.presence,
    {
      replica,
      devices: [{ deviceId, inFlight: 2 }],
      timeoutMs: 2000,
      latencyMs: { p50: 1.5, p99: 12 },
      ...more,
    },
    authority.keys.runtime,
  )
const ack = (replica: string, epoch: number, phase: StopAckBody['phase'], more: Partial<StopAckBody> = {}) =>
  authority.post(
    PATHS.stopsAck,
    { replica, acks: [{ epoch, phase, ...NONE, ...more }] },
    authority.keys.runtime,
  )
const history = async (query = '') => {
  const { body } = await authority.get(PATHS.stopHistory + query, authority.keys.viewer)
  return StopHistoryResponse.parse(body)
}
const newest = async () => (await history('?limit=1')).stops[0] as StopBody
const replicas = async () =>
  ReplicasResponse.parse((await authority.get(PATHS.replicas, authority.keys.viewer)).body).replicas
const statesOf = ({ replicas: known }: StopBody) => known.map(({ replica, state }) => `${replica} ${state}`)

describe('a confirmed stop', () => {
  test('is one that each replica of the device has settled, step by step', async () => {
    await present('r1')
    await present('r2')
    await present('elsewhere', OTHER)
    nowMs += 1000
    const epoch = await authority.revoke(DEVICE)
    expect(await newest()).toMatchObject({
      epoch,
      action: 'device.revoke',
      deviceIds: [DEVICE],
      deviceCount: 1,
      reason: 'test',
      by: expect.stringMatching(/^stop:/),
      state: 'unconfirmed',
    })
    expect(statesOf(await newest())).toEqual(['r1 silent', 'r2 silent'])
    nowMs += 10
    await ack('r1', epoch, 'received', { running: 2 })
    await authority.post(
      PATHS.validate,
      { deviceId: DEVICE, context: { replica: 'r2' } },
      authority.keys.runtime,
    )
    // The lane hands its decisions on a moment later.
    await expect.poll(async () => statesOf(await newest())).toEqual(['r1 acknowledged', 'r2 denying'])
    nowMs += 10
    await ack('r1', epoch, 'settled', { aborted: 2 })
    expect((await newest()).state).toBe('unconfirmed')
    await ack('r2', epoch, 'settled')
    expect(await newest()).toMatchObject({
      state: 'confirmed',
      replicas: [
        { replica: 'r1', state: 'confirmed', aborted: 2, running: 0 },
        { replica: 'r2', state: 'confirmed', lastDenied: { code: 'DEVICE_REVOKED' } },
      ],
    })
  })

  test('that was told to a stream is no more than told', async () => {
    await present('r1')
    const epoch = await authority.revoke(DEVICE)
    const key = await authority.controlPlane.service.findKey(authority.keys.runtime)
    const of = { orgId: authority.orgId, keyId: key?.keyId ?? '', replica: 'r1', atMs: nowMs }
    authority.controlPlane.observe({ told: [{ ...of, epoch }] })
    expect(statesOf(await newest())).toEqual(['r1 told'])
    expect((await newest()).state).toBe('unconfirmed')
  })

  test('has nobody to wait for when nobody was there, or whoever was has left', async () => {
    await present('r1', DEVICE, { leaving: true })
    nowMs += 10
    await authority.revoke(DEVICE)
    expect(await newest()).toMatchObject({ state: 'no_replicas', replicas: [] })
  })

  test('is not undone by a restore, and what came after it is another stop', async () => {
    await present('r1')
    const first = await authority.revoke(DEVICE)
    await ack('r1', first, 'settled')
    await authority.restore(DEVICE)
    const second = await authority.revoke(DEVICE)
    const { stops } = await history()
    expect(stops.map(({ epoch, state }) => `${epoch} ${state}`)).toEqual([
      `${second} unconfirmed`,
      `${first} confirmed`,
    ])
  })

  test('stays as it was known across a restart', async () => {
    await present('r1')
    const epoch = await authority.revoke(DEVICE)
    await ack('r1', epoch, 'settled', { finished: 1 })
    await authority.restart()
    expect(await newest()).toMatchObject({ epoch, state: 'confirmed', replicas: [{ finished: 1 }] })
  })
})

describe('an acknowledgement', () => {
  test('of what is no stop of the org is not stored, and says so', async () => {
    const epoch = await authority.revoke(DEVICE)
    const restored = await authority.restore(DEVICE)
    const acks = [epoch, restored, 4711].map((one) => ({ epoch: one, phase: 'settled', ...NONE }))
    const { body } = await authority.post(PATHS.stopsAck, { replica: 'r1', acks }, authority.keys.runtime)
    expect(body).toMatchObject({ status: 'ok', orgId: authority.orgId, stored: 1 })
    const other = await authority.service.createOrg({ kinds: ['runtime'] })
    const asOther = await authority.post(PATHS.stopsAck, { replica: 'r1', acks }, other.keys.runtime)
    expect(asOther.body.stored).toBe(0)
  })

  test('with a burned key says nothing any more: the stop of a key stays unconfirmed', async () => {
    await present('r1')
    const { service, orgId, keys } = authority
    const key = await service.findKey(keys.runtime)
    const { epoch } = await service.burnKey(
      { actor: 'platform', kind: 'platform', requestId: null, origin: null },
      orgId,
      { keyId: key?.keyId ?? '' },
    )
    expect((await ack('r1', epoch, 'settled')).body.code).toBe('KEY_BURNED')
    expect(await newest()).toMatchObject({ action: 'key.burn', state: 'unconfirmed', keyId: key?.keyId })
    expect(statesOf(await newest())).toEqual(['r1 silent'])
  })

  test('never carries a key that slipped into a name', async () => {
    const epoch = await authority.revoke(DEVICE)
    const { runtime } = authority.keys
    const calls = [{ callId: `was ${runtime}`, runId: null, tool: runtime, end: 'finished' as const }]
    await ack(`r ${runtime}`, epoch, 'settled', { calls })
    const shown = JSON.stringify([await history(), await replicas()])
    expect(shown).toContain('[redacted]')
    expect(shown).not.toContain(runtime)
  })

  test('G1: a thousand replicas that share a key acknowledge at once, and none is turned away', async () => {
    await using limited = await startTestControlPlane({ limitCalls: true, clock })
    await limited.register(DEVICE)
    const names = Array.from({ length: 1000 }, (_, n) => `r${n}`)
    const { keyId } = (await limited.get(PATHS.keys, limited.keys.admin)).body.keys.find(
      ({ kind }: { kind: string }) => kind === 'runtime',
    )
    const of = { orgId: limited.orgId, keyId, keyKind: 'runtime' as const, atMs: nowMs }
    limited.controlPlane.observe({
      seen: names.map((replica) => ({ ...of, replica, devices: [{ deviceId: DEVICE, inFlight: 0 }] })),
    })
    const epoch = await limited.revoke(DEVICE)
    const answers = await Promise.all(
      names.flatMap((replica) =>
        (['received', 'settled'] as const).map((phase) =>
          limited.post(PATHS.stopsAck, { replica, acks: [{ epoch, phase, ...NONE }] }, limited.keys.runtime),
        ),
      ),
    )
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
    const { body } = await limited.get(PATHS.stopHistory, limited.keys.viewer)
    const [stop] = StopHistoryResponse.parse(body).stops
    expect(stop).toMatchObject({ state: 'confirmed' })
    expect(stop?.replicas).toHaveLength(1000)
  })
})

describe('presence', () => {
  test('shows who is there, with what, and since when nothing was heard', async () => {
    const answer = await present('r1')
    expect(answer.body).toMatchObject({ status: 'ok', orgId: authority.orgId, keyKind: 'runtime' })
    nowMs += 45_000
    expect(await replicas()).toEqual([
      {
        replica: 'r1',
        keyId: expect.any(String),
        keyKind: 'runtime',
        stream: 'down',
        lastSeenAt: new Date(nowMs - 45_000).toISOString(),
        silent: false,
        devices: [{ deviceId: DEVICE, inFlight: 2 }],
        timeoutMs: 2000,
        latencyMs: { p50: 1.5, p99: 12 },
        lastDenied: null,
      },
    ])
    nowMs += 1
    expect(await replicas()).toMatchObject([{ silent: true }])
    await present('r1', DEVICE, { leaving: true })
    expect(await replicas()).toEqual([])
    await present('r1')
    nowMs += 86_400_001
    expect(await replicas()).toEqual([])
  })

  test('of a device that the key is not bound to is refused, and noted nowhere', async () => {
    const devices = [DEVICE, 'other:test:x:01'].map((deviceId) => ({ deviceId, inFlight: 0 }))
    expect((await present('r1', DEVICE, { devices })).body.code).toBe('KEY_NOT_BOUND_TO_DEVICE')
    expect(await replicas()).toEqual([])
  })
})

describe('the history', () => {
  test('comes in pages of stops, newest first, each epoch once, without restores', async () => {
    const first = await authority.revoke(DEVICE)
    const { body } = await authority.post(
      PATHS.revokeBatch,
      { deviceIds: [DEVICE, OTHER] },
      authority.keys.stop,
    )
    const last = await authority.revoke(OTHER)
    await authority.restore(OTHER)
    const page = await history('?limit=2')
    expect(page.stops.map(({ epoch, deviceCount }) => [epoch, deviceCount])).toEqual([
      [last, 1],
      [body.orgEpoch, 2],
    ])
    const next = await history(`?limit=2&cursor=${page.nextCursor}`)
    expect([next.stops.map(({ epoch }) => epoch), next.nextCursor]).toEqual([[first], null])
    expect((await history(`?epoch=${body.orgEpoch}`)).stops).toMatchObject([
      { deviceIds: [DEVICE, OTHER], deviceCount: 2 },
    ])
    expect((await history(`?epoch=${last + 1}`)).stops).toEqual([])
    const bad = await authority.get(`${PATHS.stopHistory}?cursor=1.5`, authority.keys.viewer)
    expect(bad.body.code).toBe('BAD_REQUEST')
  })

  test('is the same whoever stopped: locks, the org, keys', async () => {
    await authority.post(PATHS.locks, { pattern: 'openai-agent:*', reason: 'why' }, authority.keys.stop)
    await authority.post(PATHS.orgDisable, {}, authority.keys.stop)
    expect((await history()).stops).toMatchObject([
      { action: 'org.disable', deviceIds: [], pattern: null },
      { action: 'lock.add', pattern: 'openai-agent:*', reason: 'why', keyId: null },
    ])
  })
})

test('a control plane that starts anew knows of no open stream', async () => {
  const key = await authority.controlPlane.service.findKey(authority.keys.runtime)
  const of = { orgId: authority.orgId, keyId: key?.keyId ?? '', keyKind: 'runtime' as const }
  authority.controlPlane.observe({ seen: [{ ...of, replica: 'r1', atMs: nowMs, streamUp: true }] })
  expect(await replicas()).toMatchObject([{ stream: 'up' }])
  await authority.restart()
  expect(await replicas()).toMatchObject([{ stream: 'down' }])
})

test('evidence is kept for 30 days, so that nothing looks confirmed because it was forgotten', async () => {
  await present('r1')
  nowMs += 10
  await authority.revoke(DEVICE)
  nowMs += 29 * 86_400_000
  await authority.controlPlane.housekeeping.tick()
  expect(await newest()).toMatchObject({ state: 'unconfirmed' })
  nowMs += 2 * 86_400_000
  await authority.controlPlane.housekeeping.tick()
  expect(await newest()).toMatchObject({ state: 'no_replicas' })
})
