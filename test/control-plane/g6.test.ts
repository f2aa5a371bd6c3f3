import { describe, expect, test } from 'vitest'

import type { Clock } from '../../src/clock.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { randomFrom, seedFrom } from '../fixtures/random.ts'
import { playHistory } from './g6-history.ts'
import { createWorld, DEVICES, restoresOf, type Key, type World } from './g6-world.ts'
import { capture, openConnection } from './late-requests.ts'

// G6: no message sent before the ack of a stop can undo it. `npm run proof:g6` plays a longer history.

const DELIVERIES = Number(process.env['G6_DELIVERIES'] ?? 4000)

test(
  'G6: what was sent before a stop was acked never undoes it, in whatever order and however often it arrives',
  { timeout: 60_000 + DELIVERIES * 5 },
  async () => {
    await using authority = await startTestLanes()
    const seed = seedFrom('G6_SEED')
    console.log(`G6: to play this history again, set G6_SEED=${seed} G6_DELIVERIES=${DELIVERIES}`)
    const history = await playHistory(authority, { seed, deliveries: DELIVERIES })
    console.log(`G6: ${JSON.stringify(history)}`)
    expect(history.restores).toBeGreaterThan(10)
    expect(history.racingDeliveries).toBeGreaterThan(50)
  },
)

const [DEVICE, OTHER, GONE] = DEVICES

/** A device revoked, one revoked in a batch, one removed, a lock, a disabled org; and what would undo each of them. */
async function stopEverything(world: World) {
  await world.act(PATHS.revoke, { deviceId: DEVICE })
  await world.act(PATHS.revokeBatch, { deviceIds: [OTHER] })
  await world.act(PATHS.remove, { deviceId: GONE })
  await world.act(PATHS.locks, { pattern: 'agent:test:mail:*', reason: 'drill' })
  await world.act(PATHS.orgDisable, {})
  return restoresOf(await world.look())
}

function clockAt(wallMs: number): Clock & { wallMs: number } {
  const clock = { wallMs, now: () => ({ monotonicMs: clock.wallMs, wallMs: clock.wallMs }) }
  return clock
}

describe('G6: the one documented exception', () => {
  test('a full key may leave ifEpoch out of an unrevoke, so a late one of those undoes a stop', async () => {
    await using authority = await startTestControlPlane()
    await using world = await createWorld(authority, randomFrom(1))
    const [full] = world.liveKeys('full') as [Key]
    const late = await Promise.all([
      world.capture({ method: 'POST', path: PATHS.unrevoke, by: full, body: { deviceId: DEVICE } }),
      world.capture({
        method: 'POST',
        path: PATHS.unrevokeBatch,
        by: full,
        body: { items: [{ deviceId: DEVICE }] },
      }),
    ])
    for (const bytes of late) {
      await world.act(PATHS.revoke, { deviceId: DEVICE })
      expect((await world.look()).decisions[DEVICE]?.code).toBe('DEVICE_REVOKED')
      expect((await world.deliver(bytes)).statusCode).toBe(200)
      expect((await world.look()).decisions[DEVICE]?.code).toBe('ALLOW')
    }
  })

  test('is of no other key, and of no other restore', async () => {
    await using authority = await startTestControlPlane()
    await using world = await createWorld(authority, randomFrom(1))
    const forms = await stopEverything(world)
    const stopped = await world.look()
    const send = async (by: Key, path: string, body: object) => {
      const { statusCode, body: answer } = await world.deliver(
        await world.capture({ method: 'POST', path, by, body }),
      )
      return [statusCode, answer.code ?? answer.results?.[0]?.code ?? answer.status]
    }
    for (const { path, body } of forms) {
      const blank = JSON.parse(
        JSON.stringify(body, (name, value: unknown) => (name === 'ifEpoch' ? undefined : value)),
      ) as object
      const isUnrevoke = path === PATHS.unrevoke || path === PATHS.unrevokeBatch
      for (const by of [
        ...world.liveKeys('operator', 'admin'),
        ...(isUnrevoke ? [] : world.liveKeys('full')),
      ]) {
        if (path === PATHS.orgEnable && by.kind === 'operator') continue
        const [status, code] = await send(by, path, blank)
        const name = `${by.kind} ${path} ${JSON.stringify(blank)}`
        // To bring back what was not removed is no restore, but a register like any other.
        if (path === PATHS.register && status !== 428)
          expect(code, name).toMatch(/^(?:exists|DEVICE_REVOKED)$/)
        else
          expect([status, code], name).toEqual([path === PATHS.unrevokeBatch ? 200 : 428, 'EPOCH_REQUIRED'])
      }
    }
    expect(await world.look()).toEqual(stopped)
  })
})

describe('G6: what was sent with a key that has ended since', () => {
  interface Ending {
    readonly authority: TestControlPlane
    readonly clock: { wallMs: number }
    readonly rotate: (overlapSeconds: number) => Promise<unknown>
    readonly burn: () => Promise<unknown>
  }
  const ENDINGS: readonly [string, string, (ending: Ending) => Promise<unknown>][] = [
    ['was burned', 'KEY_BURNED', ({ burn }) => burn()],
    ['was rotated without an overlap', 'KEY_BURNED', ({ rotate }) => rotate(0)],
    [
      'was rotated, and whose overlap has passed',
      'KEY_EXPIRED',
      async ({ rotate, clock }) => {
        await rotate(3600)
        clock.wallMs += 3_600_000
      },
    ],
    [
      'was rotated, whose overlap has passed, and whose clock was set back after that was noticed',
      'KEY_EXPIRED',
      async ({ rotate, clock, authority }) => {
        await rotate(3600)
        clock.wallMs += 3_600_000
        await authority.controlPlane.housekeeping.tick()
        clock.wallMs -= 2 * 3_600_000
      },
    ],
  ]

  describe.each(['operator', 'admin', 'full'] as const)('of kind %s that', (kind) => {
    test.each(ENDINGS)('%s changes nothing', async (_, code, end) => {
      const clock = clockAt(Date.now())
      await using authority = await startTestControlPlane({ clock })
      await using world = await createWorld(authority, randomFrom(1))
      const [by] = world.liveKeys(kind) as [Key]
      const forms = [
        ...(await stopEverything(world)),
        { path: PATHS.unrevoke, body: { deviceId: DEVICE } },
        { path: PATHS.register, body: { deviceId: 'agent:test:new:1' } },
        { path: PATHS.keys, body: { kind: 'admin' } },
        { path: PATHS.keyRotate.replace(':id', by.keyId), body: { overlapSeconds: 0 } },
      ]
      const late = await Promise.all(forms.map((form) => world.capture({ method: 'POST', by, ...form })))
      await end({
        authority,
        clock,
        burn: () => world.act(PATHS.keyBurn.replace(':id', by.keyId), {}),
        rotate: (overlapSeconds) => world.act(PATHS.keyRotate.replace(':id', by.keyId), { overlapSeconds }),
      })
      const ended = await world.look()

      const answers = await Promise.all([...late, ...late].map(world.deliver))
      for (const { statusCode, body } of answers) {
        expect({ statusCode, code: body.code }).toEqual({ statusCode: 401, code })
      }
      expect(await world.look()).toEqual(ended)
    })
  })

  test('while it ends: every restore that went through did so before the end was acked', async () => {
    await using authority = await startTestLanes({ plan: 'max' })
    const random = randomFrom(seedFrom('G6_SEED'))
    const ids = Array.from({ length: 20 }, (_, n) => `agent:test:burn:${n}`)
    for (const deviceId of ids) await authority.register(deviceId)
    const urls = [authority.url, authority.operatorUrl, authority.url, authority.operatorUrl]
    const connections = await Promise.all(urls.map(openConnection))
    let restored = 0
    for (let round = 0; round < 20; round++) {
      const { key, keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'operator' })
      const stop = await authority.post(PATHS.revokeBatch, { deviceIds: ids }, authority.keys.stop)
      const ifEpoch = stop.body.orgEpoch
      const forms = ids.map((deviceId) =>
        capture({ method: 'POST', path: PATHS.unrevoke, key, body: { deviceId, ifEpoch } }),
      )
      const path = PATHS.keyBurn.replace(':id', keyId)
      const burn = await capture({ method: 'POST', path, key: authority.keys.admin, body: {} })
      const sent = random.shuffled(await Promise.all(forms)).map((bytes) => ({ bytes, isBurn: false }))
      sent.splice(random.int(sent.length), 0, { bytes: burn, isBurn: true })
      const answers = await Promise.all(
        sent.map(async ({ bytes, isBurn }) => ({
          ...(await random.pick(connections).deliver(bytes)),
          isBurn,
        })),
      )
      const burned = answers.find(({ isBurn }) => isBurn)?.body.epoch
      for (const { statusCode, body, isBurn } of answers) {
        if (isBurn) continue
        if (statusCode === 200) expect(body.epoch).toBeLessThan(burned)
        else expect([statusCode, body.code]).toEqual([401, 'KEY_BURNED'])
        restored += statusCode === 200 ? 1 : 0
      }
    }
    for (const connection of connections) connection.close()
    expect(restored).toBeGreaterThan(0)
    expect(restored).toBeLessThan(20 * ids.length)
  })
})
