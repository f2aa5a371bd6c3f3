import { describe, expect, test } from 'vitest'

import type { Clock } from '../../src/clock.ts'
import { ListResponse, PreviewResponse } from '../../src/machineid/wire-devices.ts'
import { OrgPlanResponse, UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import {
  startTestControlPlane,
  type TestControlPlane,
  type TestControlPlaneOptions,
} from '../fixtures/control-plane.ts'
import { auditOf, dump } from './dump.ts'

const id = (n: number) => `agent:test:plan:${n}`
const IDS = [1, 2, 3, 4, 5].map(id)
const NOW = Date.parse('2026-03-01T12:00:00Z')
const END = Date.parse('2026-04-01T00:00:00Z')
const YEARS = 5 * 365 * 86_400_000

interface TestClock extends Clock {
  wallMs: number
}

/** Five devices on the plan pro. Nothing happens by itself: housekeeping is asked to. */
async function five(options: TestControlPlaneOptions = {}) {
  const clock: TestClock = { wallMs: NOW, now: () => ({ monotonicMs: clock.wallMs, wallMs: clock.wallMs }) }
  const authority = await startTestControlPlane({ platformToken: 'platform', clock, ...options })
  await authority.controlPlane.housekeeping.close()
  for (const deviceId of IDS) await authority.register(deviceId)
  return { authority, clock, [Symbol.asyncDispose]: () => authority[Symbol.asyncDispose]() }
}

const askPlan = (authority: TestControlPlane, body: object, query = '') =>
  authority.post(`${PATHS.orgPlan}${query}`, { orgId: authority.orgId, ...body }, undefined, {
    authorization: 'Bearer platform',
  })
const plan = async (authority: TestControlPlane, body: object) => {
  const answer = await askPlan(authority, body)
  expect(answer.status).toBe(200)
  return OrgPlanResponse.parse(answer.body)
}
const cancel = (authority: TestControlPlane, untilMs: number) =>
  plan(authority, { tier: 'pro', state: 'canceled', accessUntil: new Date(untilMs).toISOString() })
const codes = async (authority: TestControlPlane, ids: readonly string[] = IDS) => {
  const body = { deviceIds: ids, nonce: 'n'.repeat(22) }
  const answer = await authority.post(PATHS.validateBatch, body, authority.keys.runtime)
  return (answer.body.decisions as { code: string }[]).map(({ code }) => code)
}
const usage = async (authority: TestControlPlane) =>
  UsageResponse.parse((await authority.get(PATHS.usage, authority.keys.viewer)).body)
const overLimit = async (authority: TestControlPlane) => {
  const { devices } = ListResponse.parse((await authority.get(PATHS.list, authority.keys.viewer)).body)
  return devices.map((device) => device.overLimit)
}
const ends = ({ file, orgId }: TestControlPlane) =>
  auditOf(file, orgId).filter(({ action }) => action === 'org.plan_ended')

const ALL = IDS.map(() => 'ALLOW')
const THREE = ['ALLOW', 'ALLOW', 'ALLOW', 'DEVICE_OVER_LIMIT', 'DEVICE_OVER_LIMIT']
const FREE = { planTier: 'free', planState: 'active', accessUntil: null, limit: 3, devicesUsed: 5 }

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

  test('downgraded, caps at once: the lowest slots stay, the others are over the limit, until it is raised', async () => {
    await using authority = await startTestControlPlane({ platformToken: 'platform' })
    for (const deviceId of IDS) await authority.register(deviceId)
    await authority.post(PATHS.remove, { deviceId: id(2) }, authority.keys.operator)

    await plan(authority, { tier: 'free' })
    const after = ['ALLOW', 'DEVICE_REMOVED', 'ALLOW', 'DEVICE_OVER_LIMIT', 'DEVICE_OVER_LIMIT']
    expect(await codes(authority)).toEqual(after)
    expect(await usage(authority)).toMatchObject({ devicesUsed: 4, limit: 3, remaining: 0, overLimit: true })
    const refused = await authority.post(PATHS.register, { deviceId: id(9) }, authority.keys.runtime)
    expect(refused.body.error).toBe('device_limit_reached')
    expect(await overLimit(authority)).toEqual([false, false, true, true])

    await plan(authority, { tier: 'pro' })
    expect(await codes(authority)).toEqual(['ALLOW', 'DEVICE_REMOVED', 'ALLOW', 'ALLOW', 'ALLOW'])
  })

  test('with a limit of 0 allows nobody', async () => {
    await using authority = await startTestControlPlane({ platformToken: 'platform' })
    await authority.register(id(1))
    await plan(authority, { tier: 'custom', limit: 0 })
    expect(await codes(authority, [id(1)])).toEqual(['DEVICE_OVER_LIMIT'])
  })

  test.each(['frozen', 'unpaid'])(
    'that is %s denies every device, until it is active again',
    async (state) => {
      await using authority = await startTestControlPlane({ platformToken: 'platform' })
      await authority.register(id(1))
      await plan(authority, { tier: 'pro', state })
      expect(await codes(authority, [id(1), id(2)])).toEqual(['PLAN_NOT_ACTIVE', 'PLAN_NOT_ACTIVE'])
      await plan(authority, { tier: 'pro', state: 'active' })
      expect(await codes(authority, [id(1), id(2)])).toEqual(['ALLOW', 'DEVICE_NOT_REGISTERED'])
    },
  )

  test('that changes, in whatever way, writes the org and the audit, and no device', async () => {
    await using set = await five()
    const { authority, clock } = set
    const before = dump(authority.file)
    const accessUntil = new Date(END).toISOString()
    const changes = [
      { tier: 'custom', limit: 1 },
      { tier: 'max' },
      { tier: 'pro', state: 'frozen' },
      { tier: 'pro', state: 'unpaid' },
      { tier: 'pro', state: 'active' },
      { tier: 'pro', state: 'canceled', accessUntil },
    ]
    for (const change of changes) await plan(authority, change)
    clock.wallMs = END
    await authority.controlPlane.housekeeping.tick()
    const after = dump(authority.file)
    expect(Object.keys(before).filter((table) => !isSame(before[table], after[table]))).toEqual([
      'audit',
      'orgs',
    ])
    expect(await usage(authority)).toMatchObject({ ...FREE, orgEpoch: 0 })
  })
})

const isSame = (left: unknown, right: unknown) => JSON.stringify(left) === JSON.stringify(right)

describe('a canceled plan', () => {
  test('keeps its cap to the last millisecond, and can still grow within it', async () => {
    await using set = await five()
    const { authority, clock } = set
    expect(await cancel(authority, END)).toMatchObject({
      planTier: 'pro',
      planState: 'canceled',
      accessUntil: new Date(END).toISOString(),
      limit: 25,
    })
    clock.wallMs = END - 1
    await authority.controlPlane.housekeeping.tick()
    await authority.register(id(6))
    expect(await codes(authority, [...IDS, id(6)])).toEqual([...ALL, 'ALLOW'])
    expect(ends(authority)).toEqual([])
  })

  test('has ended for every question from that moment on, before anything has written it down', async () => {
    await using set = await five()
    const { authority, clock } = set
    await cancel(authority, END)
    const written = dump(authority.file)
    clock.wallMs = END
    expect(await codes(authority)).toEqual(THREE)
    expect(await usage(authority)).toMatchObject({ ...FREE, overLimit: true, remaining: 0 })
    expect(await overLimit(authority)).toEqual([false, false, false, true, true])
    const preview = await authority.post(`${PATHS.orgDisable}?preview=true`, {}, authority.keys.stop)
    expect(PreviewResponse.parse(preview.body).devices.map(({ now }) => now)).toEqual(THREE)
    expect(dump(authority.file)).toEqual(written)
  })

  test('is put on the free one when nobody asks anything: in one transaction, once, with its audit row', async () => {
    await using set = await five()
    const { authority, clock } = set
    await cancel(authority, END)
    const before = dump(authority.file)
    clock.wallMs = END
    for (let times = 0; times < 3; times++) await authority.controlPlane.housekeeping.tick()
    const after = dump(authority.file)
    expect(Object.keys(before).filter((table) => !isSame(before[table], after[table]))).toEqual([
      'audit',
      'orgs',
    ])
    const row = { plan_tier: 'free', plan_state: 'active', access_until_ms: null, cap: 3, epoch: 0 }
    expect(after['orgs']).toMatchObject([row])
    expect(ends(authority)).toMatchObject([
      { actor: 'local', before: { planState: 'canceled', limit: 25 }, after: FREE },
    ])
    expect(await codes(authority)).toEqual(THREE)
  })

  test('does not come back with a clock that is set back', async () => {
    await using set = await five()
    const { authority, clock } = set
    await cancel(authority, END)
    clock.wallMs = END
    await authority.controlPlane.housekeeping.tick()
    clock.wallMs = NOW
    await authority.controlPlane.housekeeping.tick()
    expect(await codes(authority)).toEqual(THREE)
    expect(await usage(authority)).toMatchObject(FREE)
    const refused = await authority.post(PATHS.register, { deviceId: id(6) }, authority.keys.runtime)
    expect(refused.body).toMatchObject({ error: 'device_limit_reached', limit: 3 })
  })

  test.each([
    ['a stop', PATHS.revoke, { deviceId: id(5) }, 'stop', 'device.revoke'],
    ['a register that is refused', PATHS.register, { deviceId: id(6) }, 'runtime', undefined],
    ['a disable', PATHS.orgDisable, {}, 'stop', 'org.disable'],
  ] as const)('is written down by %s that comes first, in the same transaction', async (...given) => {
    const [, path, body, kind, action] = given
    await using set = await five()
    const { authority, clock } = set
    await cancel(authority, END)
    clock.wallMs = END
    await authority.post(path, body, authority.keys[kind])
    clock.wallMs = NOW
    expect(await usage(authority)).toMatchObject(FREE)
    const added = auditOf(authority.file, authority.orgId).slice(-2)
    expect(added.map((row) => row.action)).toEqual(
      action === undefined ? ['org.plan', 'org.plan_ended'] : ['org.plan_ended', action],
    )
    await authority.controlPlane.housekeeping.tick()
    expect(ends(authority)).toHaveLength(1)
  })

  test('that ends while many ask for changes is written down once', async () => {
    await using set = await five()
    const { authority, clock } = set
    await cancel(authority, END)
    clock.wallMs = END
    await Promise.all([
      ...Array.from({ length: 20 }, (_, n) =>
        authority.post(PATHS.register, { deviceId: id(10 + n) }, authority.keys.runtime),
      ),
      authority.controlPlane.housekeeping.tick(),
      authority.revoke(id(1)),
    ])
    expect(ends(authority)).toHaveLength(1)
    expect(await usage(authority)).toMatchObject(FREE)
  })

  test('whose accessUntil is past is free at once', async () => {
    await using set = await five()
    const { authority } = set
    expect(await cancel(authority, NOW - 1)).toMatchObject(FREE)
    expect(await codes(authority)).toEqual(THREE)
    expect(await cancel(authority, NOW)).toMatchObject(FREE)
  })

  test('that is renewed in time goes on; renewed after its end it begins anew', async () => {
    await using set = await five()
    const { authority, clock } = set
    await cancel(authority, END)
    await plan(authority, { tier: 'pro' })
    clock.wallMs = END + YEARS
    await authority.controlPlane.housekeeping.tick()
    expect(await codes(authority)).toEqual(ALL)

    await cancel(authority, clock.wallMs + 1000)
    clock.wallMs += 1000
    expect(await codes(authority)).toEqual(THREE)
    await plan(authority, { tier: 'pro' })
    expect(await codes(authority)).toEqual(ALL)
    expect(auditOf(authority.file, authority.orgId).slice(-2)).toMatchObject([
      { action: 'org.plan_ended', actor: 'local', after: FREE },
      { action: 'org.plan', actor: 'platform', before: FREE, after: { planTier: 'pro', limit: 25 } },
    ])
  })

  test('of one org ends for that org alone', async () => {
    await using set = await five()
    const { authority, clock } = set
    const other = await authority.service.createOrg({ kinds: ['viewer'] })
    await plan(authority, { orgId: other.orgId, tier: 'scale' })
    await cancel(authority, END)
    clock.wallMs = END
    await authority.controlPlane.housekeeping.tick()
    expect((await authority.get(PATHS.usage, other.keys.viewer)).body).toMatchObject({
      planTier: 'scale',
      limit: 250,
    })
    expect(await usage(authority)).toMatchObject(FREE)
  })
})
