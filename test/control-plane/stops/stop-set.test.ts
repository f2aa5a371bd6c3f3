import { afterAll, beforeAll, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { StopSetResponse } from '../../../src/machineid/wire-stops.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'

let authority: TestControlPlane
const IDS = ['a', 'b', 'c', 'd'].map((name) => `fleet:test:${name}:01`) as [string, string, string, string]
const [A, B, C, D] = IDS

beforeAll(async () => {
  authority = await startTestControlPlane()
  for (const deviceId of IDS) await authority.register(deviceId)
})
afterAll(() => authority.close())

const post = async (path: string, body: unknown) => {
  const answer = await authority.post(path, body, authority.keys.operator)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}
async function setOf(epoch: number, query = '') {
  const { status, body } = await authority.get(`${PATHS.stopSet}?epoch=${epoch}${query}`, authority.keys.stop)
  expect(status, JSON.stringify(body)).toBe(200)
  return StopSetResponse.parse(body)
}
const stopAll = async () => (await post(PATHS.revokeBatch, { pattern: 'fleet:*' })).orgEpoch as number
/** What the console and the command line restore: what this stop took away, and nothing has touched since (G6). */
const toRestore = ({ devices }: StopSetResponse) =>
  devices
    .filter(({ wasRevoked, stillHeld, epochNow }) => !wasRevoked && stillHeld && epochNow !== null)
    .map(({ deviceId, epochNow }) => ({ deviceId, ifEpoch: epochNow as number }))

test('G6: a restore of the set gives back what the stop took away: not what was revoked before or stopped since', async () => {
  await authority.revoke(A)
  const epoch = await stopAll()
  const again = await authority.revoke(B)
  const set = await setOf(epoch)
  expect(set).toMatchObject({ orgId: authority.orgId, epoch, nextCursor: null })
  expect(set.devices).toEqual([
    { deviceId: A, wasRevoked: true, epochNow: epoch, stillHeld: true },
    { deviceId: B, wasRevoked: false, epochNow: again, stillHeld: false },
    { deviceId: C, wasRevoked: false, epochNow: epoch, stillHeld: true },
    { deviceId: D, wasRevoked: false, epochNow: epoch, stillHeld: true },
  ])
  const items = toRestore(set)
  expect(items.map(({ deviceId }) => deviceId)).toEqual([C, D])
  expect(await post(PATHS.unrevokeBatch, { items })).toMatchObject({ changed: 2 })
  expect(toRestore(await setOf(epoch))).toEqual([])
  const { devices } = (await authority.get(PATHS.list, authority.keys.viewer)).body
  expect(devices.map(({ revoked }: { revoked: boolean }) => revoked)).toEqual([true, true, false, false])
})

test('it comes in pages', async () => {
  const epoch = await stopAll()
  const first = await setOf(epoch, '&limit=3')
  const rest = await setOf(epoch, `&limit=3&cursor=${first.nextCursor}`)
  expect([first, rest].map(({ devices }) => devices.map(({ deviceId }) => deviceId))).toEqual([
    [A, B, C],
    [D],
  ])
  expect(rest.nextCursor).toBeNull()
  const bad = await authority.get(`${PATHS.stopSet}?epoch=${epoch}&cursor=x`, authority.keys.viewer)
  expect(bad).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } })
})

test('a removed device has no epoch to restore it with, and a revoke before that no longer holds it', async () => {
  const revoked = await authority.revoke(D)
  const { epoch } = await post(PATHS.remove, { deviceId: D })
  expect((await setOf(epoch)).devices).toEqual([
    { deviceId: D, wasRevoked: true, epochNow: null, stillHeld: true },
  ])
  expect((await setOf(revoked)).devices[0]).toMatchObject({ epochNow: null, stillHeld: false })
})

test('a lock and the org have no devices of their own; an epoch that is no stop is told so', async () => {
  const lock = await post(PATHS.locks, { pattern: 'fleet:*', reason: 'test' })
  expect((await setOf(lock.epoch)).devices).toEqual([])
  await authority.register('fleet:test:e:01')
  const restored = await authority.restore(A)
  for (const epoch of [restored, 999_999]) {
    expect(await authority.get(`${PATHS.stopSet}?epoch=${epoch}`, authority.keys.viewer)).toMatchObject({
      status: 404,
      body: { code: 'NOT_FOUND', message: expect.stringContaining('no stop of this epoch') },
    })
  }
  const other = await authority.service.createOrg({ kinds: ['viewer'] })
  expect((await authority.get(`${PATHS.stopSet}?epoch=${lock.epoch}`, other.keys.viewer)).status).toBe(404)
})

type StopSetResponse = Awaited<ReturnType<typeof setOf>>
