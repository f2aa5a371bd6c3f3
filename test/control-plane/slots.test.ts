import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { ListResponse, RegisterResponse } from '../../src/machineid/wire-devices.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { naiveSlots } from './naive-slots.ts'

const PLATFORM = { actor: 'platform', kind: 'platform', requestId: null, origin: null } as const

const id = (n: number) => `openai-agent:test:worker:${String(n).padStart(3, '0')}`
const register = (authority: TestControlPlane, deviceId: string) =>
  authority.post(PATHS.register, { deviceId }, authority.keys.runtime)
const codes = async (authority: TestControlPlane, ids: string[]) => {
  const body = { deviceIds: ids, nonce: 'n'.repeat(22) }
  const answer = await authority.post(PATHS.validateBatch, body, authority.keys.runtime)
  return (answer.body.decisions as { code: string }[]).map(({ code }) => code)
}
const usage = async (authority: TestControlPlane) =>
  UsageResponse.parse((await authority.get(PATHS.usage, authority.keys.viewer)).body)
const slots = async (authority: TestControlPlane) => {
  const list = ListResponse.parse((await authority.get(PATHS.list, authority.keys.viewer)).body)
  return Object.fromEntries(list.devices.map(({ deviceId, slot }) => [deviceId.slice(-3), slot]))
}

describe('G7: the cap', () => {
  test('counts a device once, however often it registers at once', async () => {
    await using authority = await startTestControlPlane({ plan: 'free' })
    const answers = await Promise.all(Array.from({ length: 20 }, () => register(authority, id(1))))
    const statuses = answers.map(({ body }) => body.status as string).toSorted()
    expect(statuses).toEqual([...Array.from({ length: 19 }, () => 'exists'), 'ok'])
    expect(await usage(authority)).toMatchObject({ devicesUsed: 1 })
  })

  test('answers as MachineID does: blocked, with the plan, and without touching what is there', async () => {
    await using authority = await startTestControlPlane({ plan: 'free' })
    for (const n of [1, 2, 3]) await authority.register(id(n))
    const { status, body } = await register(authority, id(4))
    expect(status).toBe(403)
    expect(body).toMatchObject({
      status: 'blocked',
      error: 'device_limit_reached',
      code: 'DEVICE_LIMIT_REACHED',
    })
    expect(RegisterResponse.parse(body)).toMatchObject({
      handler: 'devices/register',
      deviceId: id(4),
      planTier: 'free',
      planState: 'active',
      accessUntil: null,
      limit: 3,
      devicesUsed: 3,
      remaining: 0,
      overLimit: true,
      softGraceWindow: false,
    })
    expect((await register(authority, id(2))).body).toMatchObject({ status: 'exists', overLimit: false })
    expect(await codes(authority, [1, 2, 3, 4].map(id))).toEqual([
      'ALLOW',
      'ALLOW',
      'ALLOW',
      'DEVICE_NOT_REGISTERED',
    ])
  })
})

describe('slots', () => {
  test('the lowest free one is taken, and the others never move', async () => {
    await using authority = await startTestControlPlane()
    for (const n of [1, 2, 3, 4]) await authority.register(id(n))
    await authority.post(PATHS.remove, { deviceId: id(2) }, authority.keys.operator)
    expect(await slots(authority)).toEqual({ '001': 1, '003': 3, '004': 4 })
    await authority.register(id(5))
    await authority.register(id(6))
    expect(await slots(authority)).toEqual({ '001': 1, '003': 3, '004': 4, '005': 2, '006': 5 })
  })

  test('a revoked device keeps its slot, so the cap never refuses its restore', async () => {
    await using authority = await startTestControlPlane({ plan: 'free' })
    for (const n of [1, 2, 3]) await authority.register(id(n))
    const epoch = await authority.revoke(id(2))
    expect((await register(authority, id(4))).body.error).toBe('device_limit_reached')
    expect(await usage(authority)).toMatchObject({ devicesUsed: 3, revoked: 1 })
    await authority.post(PATHS.unrevoke, { deviceId: id(2), ifEpoch: epoch }, authority.keys.operator)
    expect(await codes(authority, [id(2)])).toEqual(['ALLOW'])
  })

  test('a removed device frees its slot, and finds the plan full when it wants to come back', async () => {
    await using authority = await startTestControlPlane({ plan: 'free' })
    for (const n of [1, 2, 3]) await authority.register(id(n))
    const removed = await authority.post(PATHS.remove, { deviceId: id(2) }, authority.keys.operator)
    await authority.register(id(4))
    const back = { deviceId: id(2), restoreRemoved: true, ifEpoch: removed.body.epoch }
    const { status, body } = await authority.post(PATHS.register, back, authority.keys.operator)
    expect({ status, error: body.error }).toEqual({ status: 403, error: 'device_limit_reached' })
  })

  test('removing a tombstone again frees nothing twice', async () => {
    await using authority = await startTestControlPlane()
    for (const n of [1, 2]) await authority.register(id(n))
    for (let times = 0; times < 3; times++) {
      await authority.post(PATHS.remove, { deviceId: id(1) }, authority.keys.operator)
      expect((await usage(authority)).devicesUsed).toBe(1)
    }
  })
})

const STEPS = ['register', 'return', 'remove', 'revoke', 'restore', 'plan'] as const
type Send = (path: string, body: object) => Promise<{ [field: string]: unknown }>

/** The same org in the plainest way, beside the real one: each step is taken in both, and must be answered alike. */
function sideBySide(send: Send, setPlan: (limit: number) => Promise<unknown>) {
  const naive = naiveSlots(3)
  const tombstones = new Map<string, unknown>()
  const revoked = new Set<string>()

  const registered = (deviceId: string, returns: boolean) => {
    if (tombstones.has(deviceId) && !returns) return 'device_removed'
    if (naive.slots.has(deviceId)) return revoked.has(deviceId) ? 'device_revoked' : 'exists'
    if (naive.take(deviceId) === undefined) return 'device_limit_reached'
    tombstones.delete(deviceId)
    return 'ok'
  }
  const flag = async (path: string, deviceId: string) => {
    const { status, epoch } = await send(path, { deviceId })
    expect(status).toBe(naive.slots.has(deviceId) || tombstones.has(deviceId) ? 'ok' : 'error')
    if (tombstones.has(deviceId)) tombstones.set(deviceId, epoch)
    return status === 'ok'
  }
  const take: Record<(typeof STEPS)[number], (deviceId: string, n: number) => Promise<unknown>> = {
    plan: (_, limit) => {
      naive.cap = limit
      return setPlan(limit)
    },
    register: async (deviceId) => {
      const { status, error } = await send(PATHS.register, { deviceId })
      expect(error ?? status).toBe(registered(deviceId, false))
    },
    return: async (deviceId) => {
      const ifEpoch = tombstones.get(deviceId)
      const { status, error } = await send(PATHS.register, { deviceId, restoreRemoved: true, ifEpoch })
      expect(error ?? status).toBe(registered(deviceId, true))
    },
    remove: async (deviceId) => {
      const { epoch } = await send(PATHS.remove, { deviceId })
      naive.free(deviceId)
      if (epoch !== undefined) tombstones.set(deviceId, epoch)
    },
    revoke: async (deviceId) => {
      if (await flag(PATHS.revoke, deviceId)) revoked.add(deviceId)
    },
    restore: async (deviceId) => {
      if (await flag(PATHS.unrevoke, deviceId)) revoked.delete(deviceId)
    },
  }
  const code = (deviceId: string) => {
    if (tombstones.has(deviceId)) return 'DEVICE_REMOVED'
    if (!naive.slots.has(deviceId)) return 'DEVICE_NOT_REGISTERED'
    if (revoked.has(deviceId)) return 'DEVICE_REVOKED'
    return naive.within(deviceId) ? 'ALLOW' : 'DEVICE_OVER_LIMIT'
  }
  return { take, code, slots: naive.slots }
}

test('whatever is registered, removed, brought back and re-planned, slots are as a naive model has them', async () => {
  await using authority = await startTestControlPlane()
  const ids = Array.from({ length: 5 }, (_, n) => id(n))
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ what: fc.constantFrom('register', 'return', ...STEPS), n: fc.nat(4) }), {
        minLength: 5,
        maxLength: 40,
        size: 'max',
      }),
      async (steps) => {
        const { orgId, keys } = await authority.service.createOrg({ kinds: ['full'] })
        const send: Send = async (path, body) => (await authority.post(path, body, keys.full)).body
        const {
          take,
          code,
          slots: naive,
        } = sideBySide(send, (limit) => authority.service.setPlan(PLATFORM, orgId, { tier: 'custom', limit }))
        for (const { what, n } of steps) {
          await take[what](id(n), n)
          const { devices } = ListResponse.parse((await authority.get(PATHS.list, keys.full)).body)
          expect(new Map(devices.map(({ deviceId, slot }) => [deviceId, slot]))).toEqual(naive)
          const { decisions } = await send(PATHS.validateBatch, { deviceIds: ids, nonce: 'n'.repeat(22) })
          expect((decisions as { code: string }[]).map((decision) => decision.code)).toEqual(ids.map(code))
        }
      },
    ),
    { numRuns: 25 },
  )
})

test('the list comes whole without a limit, and page by page with one', async () => {
  await using authority = await startTestControlPlane()
  for (let n = 0; n < 25; n++) await authority.register(id(n))
  const all = Array.from({ length: 25 }, (_, n) => id(n))
  const page = async (query: string) =>
    ListResponse.parse((await authority.get(`${PATHS.list}${query}`, authority.keys.viewer)).body)
  const whole = await page('')
  expect(whole.devices.map(({ deviceId }) => deviceId)).toEqual(all)
  expect(whole.nextCursor).toBeNull()

  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const next = await page(`?limit=10${cursor && `&cursor=${cursor}`}`)
    expect(next.devices.length).toBeLessThanOrEqual(10)
    seen.push(...next.devices.map(({ deviceId }) => deviceId))
    cursor = next.nextCursor
  }
  expect(seen).toEqual(all)
  expect((await page('?limit=25')).nextCursor).toBeNull()
})
