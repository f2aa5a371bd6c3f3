import { describe, expect, test } from 'vitest'

import {
  ListResponse,
  OrgPlanResponse,
  PATHS,
  RegisterResponse,
  UsageResponse,
} from '../../src/machineid/wire.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const id = (n: number) => `openai-agent:test:worker:${String(n).padStart(3, '0')}`
const register = (authority: TestControlPlane, deviceId: string) =>
  authority.post(PATHS.register, { deviceId }, authority.keys.runtime)
const plan = async (authority: TestControlPlane, body: object) => {
  const answer = await authority.post(PATHS.orgPlan, { orgId: authority.orgId, ...body }, undefined, {
    authorization: 'Bearer platform',
  })
  expect(answer.status).toBe(200)
  return OrgPlanResponse.parse(answer.body)
}
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
  test('is exact however many register at once', async () => {
    await using authority = await startTestControlPlane({ plan: { limit: 10 } })
    const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => register(authority, id(n))))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10)
    expect(answers.filter(({ status }) => status === 403)).toHaveLength(50)
    expect(await usage(authority)).toMatchObject({
      devicesUsed: 10,
      limit: 10,
      remaining: 0,
      overLimit: false,
    })
    expect(Object.values(await slots(authority)).toSorted((a, b) => Number(a) - Number(b))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ])
  })

  test('counts a device once, however often it registers at once', async () => {
    await using authority = await startTestControlPlane({ plan: 'free' })
    const answers = await Promise.all(Array.from({ length: 20 }, () => register(authority, id(1))))
    const statuses = answers.map(({ body }) => body.status as string).toSorted()
    expect(statuses).toEqual([...Array.from({ length: 19 }, () => 'exists'), 'ok'])
    expect(await usage(authority)).toMatchObject({ devicesUsed: 1 })
  })

  test('holds while registers, removes and returns race', async () => {
    await using authority = await startTestControlPlane({ plan: { limit: 5 } })
    const rounds = Array.from({ length: 40 }, async (_, n) => {
      await register(authority, id(n % 12))
      const removed = await authority.post(
        PATHS.remove,
        { deviceId: id((n * 5) % 12) },
        authority.keys.operator,
      )
      const back = { deviceId: id((n * 5) % 12), restoreRemoved: true, ifEpoch: removed.body.epoch }
      await authority.post(PATHS.register, back, authority.keys.operator)
      expect((await usage(authority)).devicesUsed).toBeLessThanOrEqual(5)
    })
    await Promise.all(rounds)
    const taken = Object.values(await slots(authority))
    expect(taken.length).toBe((await usage(authority)).devicesUsed)
    expect(new Set(taken).size).toBe(taken.length)
    expect(Math.max(...taken.map(Number))).toBeLessThanOrEqual(5)
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

describe('a plan', () => {
  test.each([
    [{ tier: 'free' }, 3],
    [{ tier: 'pro' }, 25],
    [{ tier: 'scale' }, 250],
    [{ tier: 'max' }, 1000],
    [{ tier: 'custom', limit: 42 }, 42],
  ])('%j caps at %i', async (body, limit) => {
    await using authority = await startTestControlPlane({ platformToken: 'platform' })
    expect(await plan(authority, body)).toMatchObject({
      status: 'ok',
      handler: 'org/plan',
      planTier: body.tier,
      limit,
    })
    expect(await usage(authority)).toMatchObject({ planTier: body.tier, limit })
  })

  test('downgraded, caps at once: the lowest slots stay, the others are over the limit, until it is raised again', async () => {
    await using authority = await startTestControlPlane({ platformToken: 'platform' })
    const ids = [1, 2, 3, 4, 5].map(id)
    for (const deviceId of ids) await authority.register(deviceId)
    await authority.post(PATHS.remove, { deviceId: id(2) }, authority.keys.operator)

    await plan(authority, { tier: 'free' })
    expect(await codes(authority, ids)).toEqual([
      'ALLOW',
      'DEVICE_REMOVED',
      'ALLOW',
      'DEVICE_OVER_LIMIT',
      'DEVICE_OVER_LIMIT',
    ])
    expect(await usage(authority)).toMatchObject({ devicesUsed: 4, limit: 3, remaining: 0, overLimit: true })
    expect((await register(authority, id(9))).body.error).toBe('device_limit_reached')
    const listed = ListResponse.parse((await authority.get(PATHS.list, authority.keys.viewer)).body).devices
    expect(listed.map(({ overLimit }) => overLimit)).toEqual([false, false, true, true])

    await plan(authority, { tier: 'pro' })
    expect(await codes(authority, ids)).toEqual(['ALLOW', 'DEVICE_REMOVED', 'ALLOW', 'ALLOW', 'ALLOW'])
  })

  test('with a limit of 0 allows nobody', async () => {
    await using authority = await startTestControlPlane({ platformToken: 'platform' })
    await authority.register(id(1))
    await plan(authority, { tier: 'custom', limit: 0 })
    expect(await codes(authority, [id(1)])).toEqual(['DEVICE_OVER_LIMIT'])
  })

  test.each(['frozen', 'unpaid'])(
    'that is %s denies every device, and lets go when it is active again',
    async (state) => {
      await using authority = await startTestControlPlane({ platformToken: 'platform' })
      await authority.register(id(1))
      await plan(authority, { tier: 'pro', state })
      expect(await codes(authority, [id(1), id(2)])).toEqual(['PLAN_NOT_ACTIVE', 'PLAN_NOT_ACTIVE'])
      await plan(authority, { tier: 'pro', state: 'active' })
      expect(await codes(authority, [id(1)])).toEqual(['ALLOW'])
    },
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
