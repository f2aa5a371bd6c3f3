import { Writable } from 'node:stream'
import { describe, expect, test } from 'vitest'

import type { Clock } from '../../src/clock.ts'
import { createLogger } from '../../src/log.ts'
import { ListResponse } from '../../src/machineid/wire-devices.ts'
import { LockListResponse } from '../../src/machineid/wire-locks.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import { dump } from './dump.ts'

const NOW = Date.parse('2026-03-01T12:00:00Z')
const HOUR = 3_600_000
const DAY = 24 * HOUR
const id = (n: number) => `agent:test:remind:${n}`

/** A control plane whose clock stands still. Nothing happens by itself: housekeeping is asked to. */
async function still() {
  const clock: Clock & { wallMs: number } = {
    wallMs: NOW,
    now: () => ({ monotonicMs: clock.wallMs, wallMs: clock.wallMs }),
  }
  const lines: string[] = []
  const destination = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString())
      done()
    },
  })
  const log = createLogger({ level: 'warn', destination })
  const authority = await startTestControlPlane({ clock, log })
  const { housekeeping } = authority.controlPlane
  await housekeeping.close()
  const { get, keys } = authority
  return {
    authority,
    clock,
    lines,
    tick: () => housekeeping.tick(),
    stop: async (path: string, body: object) => {
      const answer = await authority.post(path, body, keys.admin)
      expect(answer.status, path).toBe(200)
      return answer.body
    },
    devices: async () => ListResponse.parse((await get(PATHS.list, keys.viewer)).body).devices,
    locks: async () => LockListResponse.parse((await get(PATHS.locks, keys.viewer)).body).locks,
    usage: async () => UsageResponse.parse((await get(PATHS.usage, keys.viewer)).body),
    code: async (deviceId: string) =>
      (await authority.post(PATHS.validate, { deviceId }, keys.runtime)).body.code as string,
    [Symbol.asyncDispose]: () => authority[Symbol.asyncDispose](),
  }
}

describe('a reminder', () => {
  test('makes a stop overdue at its time, in the list, the locks and the usage, with its reason', async () => {
    await using set = await still()
    const { authority, clock, stop } = set
    for (const n of [1, 2, 3]) await authority.register(id(n))
    await stop(PATHS.revoke, { deviceId: id(1), reason: 'leak', remindAfterSeconds: 3600 })
    await stop(PATHS.revokeBatch, { deviceIds: [id(2)], reason: 'batch', remindAfterSeconds: 7200 })
    await stop(PATHS.revoke, { deviceId: id(3), reason: 'for good' })
    await stop(PATHS.locks, { pattern: 'a:*', reason: 'drill', remindAfterSeconds: 3600 })
    const remindAt = new Date(NOW + HOUR).toISOString()
    const overdue = async () => [
      ...(await set.devices()).map((device) => device.overdue),
      ...(await set.locks()).map((lock) => lock.overdue),
    ]

    clock.wallMs = NOW + HOUR - 1
    expect(await overdue()).toEqual([false, false, false, false])
    expect(await set.usage()).toMatchObject({ overdue: 0, revoked: 3, locks: 1 })
    clock.wallMs = NOW + HOUR
    expect(await overdue()).toEqual([true, false, false, true])
    expect(await set.usage()).toMatchObject({ overdue: 2 })
    clock.wallMs = NOW + 2 * HOUR
    expect(await overdue()).toEqual([true, true, false, true])
    expect(await set.usage()).toMatchObject({ overdue: 3 })
    expect(await set.devices()).toMatchObject([
      { reason: 'leak', remindAt },
      { reason: 'batch', remindAt: new Date(NOW + 2 * HOUR).toISOString() },
      { reason: 'for good', remindAt: null },
    ])
    expect(await set.locks()).toMatchObject([{ reason: 'drill', remindAt }])
  })

  test('ends with the stop that it was for, and with a new stop that has none', async () => {
    await using set = await still()
    const { authority, clock, stop } = set
    for (const n of [1, 2, 3, 4]) await authority.register(id(n))
    const remindAfterSeconds = 3600
    const { epoch } = await stop(PATHS.revoke, { deviceId: id(1), remindAfterSeconds })
    for (const n of [2, 3, 4]) await stop(PATHS.revoke, { deviceId: id(n), remindAfterSeconds })
    const lock = await stop(PATHS.locks, { pattern: 'a:*', reason: 'drill', remindAfterSeconds })
    await stop(PATHS.unrevoke, { deviceId: id(1), ifEpoch: epoch })
    await stop(PATHS.revoke, { deviceId: id(2) })
    await stop(PATHS.revokeBatch, { deviceIds: [id(3)] })
    await stop(PATHS.remove, { deviceId: id(4) })
    await stop(PATHS.lockRelease.replace(':id', lock.lockId), { ifEpoch: lock.epoch })
    clock.wallMs = NOW + DAY
    expect(await set.usage()).toMatchObject({ overdue: 0 })
    expect((await set.devices()).map(({ remindAt }) => remindAt)).toEqual([null, null, null])
    await set.tick()
    expect(set.lines).toEqual([])
  })

  test('is logged once when it falls due, with what it is about, also after the clock was set back', async () => {
    await using set = await still()
    const { authority, clock, stop } = set
    await authority.register(id(1))
    await stop(PATHS.revoke, { deviceId: id(1), reason: 'leak', remindAfterSeconds: 3600 })
    await stop(PATHS.locks, { pattern: 'a:*', reason: 'drill', remindAfterSeconds: 7200 })
    for (const at of [HOUR - 1, HOUR, HOUR + 1, 2 * HOUR, HOUR, 3 * HOUR]) {
      clock.wallMs = NOW + at
      await set.tick()
    }
    expect(set.lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { device_id: id(1), reason: 'leak', msg: expect.stringContaining('overdue') },
      { pattern: 'a:*', reason: 'drill', msg: expect.stringContaining('overdue') },
    ])
  })
})

test('G1: no stop ever ends by itself: years later, with reminders long past, everything is as it was', async () => {
  await using set = await still()
  const { authority, clock, stop } = set
  for (const n of [1, 2, 3, 4, 5]) await authority.register(id(n))
  const other = await authority.service.createOrg({ kinds: ['full', 'runtime'] })
  await authority.post(PATHS.register, { deviceId: id(1) }, other.keys.full)
  await authority.post(PATHS.orgDisable, {}, other.keys.full)
  await authority.service.setPlan(
    { actor: 'platform', kind: 'platform', requestId: null, origin: null },
    (await authority.service.createOrg({ kinds: [] })).orgId,
    { tier: 'pro', state: 'frozen' },
  )

  await stop(PATHS.revoke, { deviceId: id(1), remindAfterSeconds: 60 })
  await stop(PATHS.revokeBatch, { deviceIds: [id(2)], remindAfterSeconds: 60 })
  await stop(PATHS.remove, { deviceId: id(3) })
  await stop(PATHS.locks, { pattern: id(4), reason: 'drill', remindAfterSeconds: 60 })
  const { key, keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'runtime' })
  await stop(PATHS.keyBurn.replace(':id', keyId), {})

  const before = dump(authority.file)
  for (let month = 0; month < 12 * 20; month++) {
    clock.wallMs += 30 * DAY
    await set.tick()
  }
  await authority.restart()
  await authority.controlPlane.housekeeping.tick()
  expect(dump(authority.file)).toEqual(before)
  expect(await Promise.all([1, 2, 3, 4, 5].map((n) => set.code(id(n))))).toEqual([
    'DEVICE_REVOKED',
    'DEVICE_REVOKED',
    'DEVICE_REMOVED',
    'DEVICE_LOCKED',
    'ALLOW',
  ])
  const asked = { deviceId: id(1) }
  expect((await authority.post(PATHS.validate, asked, other.keys.runtime)).body.code).toBe('ORG_DISABLED')
  expect((await authority.post(PATHS.validate, asked, key)).body.code).toBe('KEY_BURNED')
})
