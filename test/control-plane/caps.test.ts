import { describe, expect, test } from 'vitest'

import { ListResponse, RegisterResponse } from '../../src/machineid/wire-devices.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { randomFrom, seedFrom, type Random } from '../fixtures/random.ts'
import { auditOf } from './dump.ts'
import { capture, openConnection, type Answered, type Connection } from './late-requests.ts'
import { naiveSlots } from './naive-slots.ts'

// G7: registers from many connections with several keys, mixed with removes, returns and changes of the plan. What
// happened, and in which order, is in the audit; a naive model plays it again.

const PLATFORM_TOKEN = 'platform-token'
const id = (n: number) => `agent:test:cap:${n}`

interface Crowd extends AsyncDisposable {
  readonly send: (path: string, body: object, key?: string) => Promise<Answered>
  readonly plan: (limit: number) => Promise<unknown>
  readonly runtimeKeys: readonly string[]
}

/** Connections to both lanes, and several runtime keys. */
async function crowd(authority: TestControlPlane, random: Random): Promise<Crowd> {
  const { orgId, keys, service } = authority
  const urls = [...Array<string>(4).fill(authority.url), ...Array<string>(4).fill(authority.operatorUrl)]
  const connections: Connection[] = await Promise.all(urls.map(openConnection))
  const issued = await Promise.all([1, 2, 3].map(() => service.issueKey({ orgId, kind: 'runtime' })))
  const runtimeKeys = [keys.runtime, keys.full, ...issued.map(({ key }) => key)]
  return {
    runtimeKeys,
    send: async (path, body, key = random.pick(runtimeKeys)) => {
      const connection = random.pick(connections)
      return connection.deliver(await capture({ method: 'POST', path, key, body }))
    },
    plan: (limit) =>
      authority.post(PATHS.orgPlan, { orgId, tier: 'custom', limit }, undefined, {
        authorization: `Bearer ${PLATFORM_TOKEN}`,
      }),
    [Symbol.asyncDispose]: async () => {
      for (const connection of connections) connection.close()
    },
  }
}

const usage = async ({ get, keys }: TestControlPlane) =>
  UsageResponse.parse((await get(PATHS.usage, keys.viewer)).body)
const slotsNow = async ({ get, keys }: TestControlPlane) => {
  const { devices } = ListResponse.parse((await get(PATHS.list, keys.viewer)).body)
  return new Map(devices.map(({ deviceId, slot }) => [deviceId, slot]))
}

describe('G7: the cap', () => {
  test('admits exactly as many as it has room for, from however many connections and keys they come', async () => {
    await using authority = await startTestLanes({ plan: { limit: 40 } })
    await using all = await crowd(authority, randomFrom(1))
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => all.send(PATHS.register, { deviceId: id(n) })),
    )
    expect(answers.filter(({ statusCode }) => statusCode === 200)).toHaveLength(40)
    for (const { statusCode, body } of answers) {
      if (statusCode !== 200) expect([statusCode, body.error]).toEqual([403, 'device_limit_reached'])
      expect(RegisterResponse.parse(body).devicesUsed).toBeLessThanOrEqual(40)
    }
    expect(await usage(authority)).toMatchObject({ devicesUsed: 40, limit: 40, remaining: 0 })
    expect(new Set((await slotsNow(authority)).values())).toEqual(
      new Set(Array.from({ length: 40 }, (_, n) => n + 1)),
    )
  })

  test('holds through removes, returns, upgrades and downgrades at the same time', async () => {
    const seed = seedFrom('CAPS_SEED')
    console.log(`G7: CAPS_SEED=${seed}`)
    const random = randomFrom(seed)
    await using authority = await startTestLanes({ plan: { limit: 10 }, platformToken: PLATFORM_TOKEN })
    await using all = await crowd(authority, random)
    const removedAt = new Map<string, number>()
    let admitted = 0
    let refused = 0

    const step = async () => {
      const deviceId = id(random.int(60))
      const chance = random.int(100)
      if (chance < 5) return all.plan(random.int(40))
      if (chance < 30) {
        const { body } = await all.send(PATHS.remove, { deviceId }, authority.keys.operator)
        return removedAt.set(deviceId, body.epoch)
      }
      const ifEpoch = removedAt.get(deviceId)
      const returns = ifEpoch !== undefined && chance < 60
      const { statusCode, body } = returns
        ? await all.send(PATHS.register, { deviceId, restoreRemoved: true, ifEpoch }, authority.keys.operator)
        : await all.send(PATHS.register, { deviceId })
      if (body.error === 'device_limit_reached') refused++
      if (statusCode !== 200 || body.status !== 'ok') return undefined
      admitted++
      return expect(body.devicesUsed).toBeLessThanOrEqual(body.limit)
    }
    for (let burst = 0; burst < 40; burst++) await Promise.all(Array.from({ length: 30 }, step))

    const played = playAgain(auditOf(authority.file, authority.orgId))
    expect(played.admitted).toBe(admitted)
    expect(admitted).toBeGreaterThan(50)
    expect(refused).toBeGreaterThan(50)
    expect(await slotsNow(authority)).toEqual(played.slots)
    expect(await usage(authority)).toMatchObject({ devicesUsed: played.slots.size, limit: played.cap })

    // And exact at the end.
    const cap = played.slots.size + 7
    await all.plan(cap)
    const more = Array.from({ length: 60 }, (_, n) => all.send(PATHS.register, { deviceId: id(1000 + n) }))
    expect((await Promise.all(more)).filter(({ statusCode }) => statusCode === 200)).toHaveLength(7)
    expect(await usage(authority)).toMatchObject({ devicesUsed: cap, remaining: 0 })
  })
})

/** In the order of the chain: each device got the lowest free slot, while fewer than the cap were taken. */
function playAgain(rows: ReturnType<typeof auditOf>) {
  const naive = naiveSlots(0)
  let admitted = 0
  for (const { action, deviceId = '', after } of rows) {
    switch (action) {
      case 'org.plan':
        naive.cap = after.limit
        break
      case 'device.remove':
        naive.free(deviceId)
        break
      case 'device.register':
      case 'device.restore_removed':
        expect(naive.take(deviceId), `${deviceId}, with ${naive.slots.size} of ${naive.cap} taken`).toBe(
          after.slot,
        )
        admitted++
        break
      default:
        break
    }
  }
  return { admitted, slots: naive.slots, cap: naive.cap }
}
