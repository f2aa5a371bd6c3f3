import { expect, test } from 'vitest'

import { systemClock } from '../../src/clock.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'

// What is read at length must not keep a stop waiting: it is read in slices, and counts against a quota.

test('a list longer than a slice is whole, in order, and comes in pages of any size', async () => {
  await using authority = await startTestControlPlane({ plan: 'max' })
  const ids = Array.from({ length: 450 }, (_, index) => `a:test:worker:${String(index).padStart(3, '0')}`)
  for (const deviceId of ids) await authority.register(deviceId)
  const list = async (query = '') =>
    (await authority.get(`${PATHS.list}${query}`, authority.keys.viewer)).body as {
      devices: { deviceId: string }[]
      nextCursor: string | null
    }
  const named = ({ devices }: { devices: { deviceId: string }[] }) => devices.map(({ deviceId }) => deviceId)

  const all = await list()
  expect(named(all)).toEqual(ids)
  expect(all.nextCursor).toBeNull()
  for (const limit of [1, 199, 200, 201, 400, 449, 450, 451]) {
    const first = await list(`?limit=${limit}`)
    expect(named(first)).toEqual(ids.slice(0, limit))
    if (first.nextCursor === null) {
      expect(limit).toBeGreaterThanOrEqual(ids.length)
      continue
    }
    const rest = await list(`?limit=1000&cursor=${first.nextCursor}`)
    expect(named(rest)).toEqual(ids.slice(limit))
  }
})

test('a look at what a stop would hit counts against the quota, the stop itself never does', async () => {
  // No time passes, in which a quota would fill up again.
  const at = systemClock.now()
  await using authority = await startTestControlPlane({ limitCalls: true, clock: { now: () => at } })
  await authority.register('a:test:worker:01')
  const revoke = (query = '') =>
    authority.post(`${PATHS.revoke}${query}`, { deviceId: 'a:test:worker:01' }, authority.keys.stop)
  const looks = await Promise.all(Array.from({ length: 500 }, () => revoke('?preview=true')))
  const counted = Object.groupBy(looks, ({ status }) => String(status))
  expect(Object.keys(counted).sort()).toEqual(['200', '429'])
  expect((await revoke()).status).toBe(200)
})

test('a key that may only burn itself may not look through the devices for it', async () => {
  await using authority = await startTestControlPlane()
  const { key, keyId } = await authority.service.issueKey({
    orgId: authority.orgId,
    kind: 'runtime',
    bindings: ['*'],
  })
  const path = PATHS.keyBurn.replace(':id', keyId)
  const look = await authority.post(`${path}?preview=true`, {}, key)
  expect(look).toMatchObject({ status: 403, body: { code: 'INSUFFICIENT_SCOPE' } })
  expect((await authority.post(`${path}?preview=true`, {}, authority.keys.admin)).status).toBe(200)
  expect((await authority.post(path, {}, key)).status).toBe(200)
})
