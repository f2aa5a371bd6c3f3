import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Clock } from '../../src/clock.ts'
import { PreviewResponse } from '../../src/machineid/wire-devices.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { dump } from './dump.ts'
import { plantDevices } from './plant.ts'

const PLATFORM_TOKEN = 'platform-token'
const IDS = [
  'agent:test:pay:1',
  'agent:test:pay:2',
  'agent:test:mail:1',
  'agent:test:mail:2',
  'agent:live:pay:1',
  'agent:live:mail:1',
]
const ONE = 'agent:test:pay:1'
const START = Date.parse('2026-03-01T00:00:00Z')
const ACCESS_UNTIL = Date.parse('2026-04-01T00:00:00Z')

interface Stop {
  readonly name: string
  readonly path: string
  readonly body: object
  /** With the platform token, about the org. */
  readonly platform?: true
  /** What it does comes later. */
  readonly thenWait?: true
}

const plan = (name: string, body: object): Stop => ({ name, path: PATHS.orgPlan, body, platform: true })
const STOPS: readonly Stop[] = [
  { name: 'revoke', path: PATHS.revoke, body: { deviceId: ONE, reason: 'x' } },
  { name: 'remove', path: PATHS.remove, body: { deviceId: ONE } },
  {
    name: 'revoke_batch by list',
    path: PATHS.revokeBatch,
    body: { deviceIds: [IDS[2], IDS[0], 'a:b:c', IDS[2]] },
  },
  { name: 'revoke_batch by pattern', path: PATHS.revokeBatch, body: { pattern: 'agent:test:*' } },
  { name: 'revoke_batch by label', path: PATHS.revokeBatch, body: { label: { name: 'team', value: 'a' } } },
  { name: 'a lock', path: PATHS.locks, body: { pattern: 'agent:*:pay:*', reason: 'x' } },
  { name: 'a lock of one', path: PATHS.locks, body: { pattern: ONE, reason: 'x', remindAfterSeconds: 60 } },
  { name: 'org/disable', path: PATHS.orgDisable, body: { reason: 'x' } },
  plan('a downgrade', { tier: 'free' }),
  plan('a downgrade to nothing', { tier: 'custom', limit: 0 }),
  plan('an upgrade', { tier: 'max' }),
  plan('freezing', { tier: 'pro', state: 'frozen' }),
  plan('not paying', { tier: 'pro', state: 'unpaid' }),
  {
    ...plan('canceling', {
      tier: 'pro',
      state: 'canceled',
      accessUntil: new Date(ACCESS_UNTIL).toISOString(),
    }),
    thenWait: true,
  },
  plan('canceling with a smaller cap until then', {
    tier: 'custom',
    limit: 2,
    state: 'canceled',
    accessUntil: new Date(ACCESS_UNTIL).toISOString(),
  }),
]

interface TestClock extends Clock {
  wallMs: number
}
const clockAt = (wallMs: number): TestClock => {
  const clock: TestClock = { wallMs, now: () => ({ monotonicMs: clock.wallMs, wallMs: clock.wallMs }) }
  return clock
}

/** One org, with the stop that is looked at and then made by the same credential. */
function callsOf(authority: TestControlPlane, orgId: string, full: string) {
  const make = ({ path, body, platform }: Stop, query = '', key = full) =>
    platform === true
      ? authority.post(`${path}${query}`, { orgId, ...body }, undefined, {
          authorization: `Bearer ${PLATFORM_TOKEN}`,
        })
      : authority.post(`${path}${query}`, body, key)
  const codes = async () => {
    const question = { deviceIds: IDS, nonce: 'n'.repeat(22) }
    const { body } = await authority.post(PATHS.validateBatch, question, full)
    const decisions = body.decisions as { deviceId: string; code: string }[]
    return new Map(decisions.map(({ deviceId, code }) => [deviceId, code]))
  }
  return { make, codes }
}

describe('a preview', () => {
  test.each(STOPS)('of $name names what it then does, and changes nothing', async (stop) => {
    const clock = clockAt(START)
    await using authority = await startTestControlPlane({ platformToken: PLATFORM_TOKEN, clock })
    await authority.controlPlane.housekeeping.close()
    const one = fc.constantFrom(...IDS)
    const before = fc.oneof(
      fc.record({ path: fc.constantFrom(PATHS.revoke, PATHS.remove, PATHS.unrevoke), deviceId: one }),
      fc.record({ path: fc.constant(PATHS.locks), pattern: fc.constantFrom('agent:*:mail:*', ONE, '*') }),
    )
    const planned = fc.constantFrom<object[]>(
      { tier: 'pro' },
      { tier: 'free' },
      { tier: 'pro', state: 'frozen' },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(before, { maxLength: 4 }),
        planned,
        fc.boolean(),
        async (history, itsPlan, disabled) => {
          clock.wallMs = START
          const { orgId, keys } = await authority.service.createOrg({ kinds: ['full'] })
          const { full = '' } = keys
          const { make, codes } = callsOf(authority, orgId, full)
          await make(plan('', { tier: 'pro' }))
          for (const [n, deviceId] of IDS.entries()) {
            await authority.post(
              PATHS.register,
              { deviceId, labels: { team: n % 2 === 0 ? 'a' : 'b' } },
              full,
            )
          }
          for (const { path, ...body } of history) await authority.post(path, { reason: 'x', ...body }, full)
          if (disabled) await authority.post(PATHS.orgDisable, {}, full)
          await make(plan('', itsPlan))

          const [now, rows] = [await codes(), dump(authority.file)]
          const answer = await make(stop, '?preview=true')
          expect(dump(authority.file)).toEqual(rows)
          const preview = PreviewResponse.parse(answer.body)
          await make(stop)
          if (stop.thenWait === true) clock.wallMs = ACCESS_UNTIL
          const then = await codes()

          expect(preview.devices.map((device) => device.now)).toEqual(
            preview.devices.map(({ deviceId }) => now.get(deviceId)),
          )
          expect(preview.devices.map((device) => device.then)).toEqual(
            preview.devices.map(({ deviceId }) => then.get(deviceId)),
          )
          const named = new Set(preview.devices.map(({ deviceId }) => deviceId))
          const hit = IDS.filter((id) => now.get(id) === 'ALLOW' && then.get(id) !== 'ALLOW')
          expect(hit.filter((id) => !named.has(id))).toEqual([])
          expect(preview).toMatchObject({
            orgId,
            deviceCount: named.size,
            truncated: false,
            hits: hit.length,
          })
        },
      ),
      { numRuns: 15 },
    )
  })

  test('names the first 1,000 of many, and says how many there are', async () => {
    await using authority = await startTestControlPlane()
    const ids = Array.from({ length: 1005 }, (_, n) => `agent:test:many:${String(n).padStart(4, '0')}`)
    await authority.kill()
    await plantDevices(authority.file, authority.orgId, ids)
    await authority.restart()
    for (const [path, body] of [
      [PATHS.orgDisable, {}],
      [PATHS.locks, { pattern: 'agent:*', reason: 'x' }],
      [PATHS.revokeBatch, { pattern: 'agent:*' }],
    ] as const) {
      const answer = await authority.post(`${path}?preview=true`, body, authority.keys.stop)
      const preview = PreviewResponse.parse(answer.body)
      expect(preview).toMatchObject({ deviceCount: 1005, truncated: true, hits: 1000 })
      expect(preview.devices.map(({ deviceId }) => deviceId)).toEqual(ids.slice(0, 1000))
    }
  })

  test('is refused whatever the stop itself is refused', async () => {
    await using authority = await startTestControlPlane({ platformToken: PLATFORM_TOKEN })
    await authority.register(ONE)
    const rows = dump(authority.file)
    const { make } = callsOf(authority, 'no-such-org', authority.keys.full)
    const unknown: Stop[] = [
      { name: 'revoke', path: PATHS.revoke, body: { deviceId: 'a:b:c' } },
      { name: 'remove', path: PATHS.remove, body: { deviceId: 'a:b:c' } },
      { name: 'revoke', path: PATHS.revoke, body: { deviceId: 'no way' } },
      { name: 'revoke_batch', path: PATHS.revokeBatch, body: {} },
      { name: 'lock', path: PATHS.locks, body: { pattern: 'a:*' } },
      plan('of nobody', { tier: 'free' }),
      plan('that is none', { tier: 'gold' }),
    ]
    for (const stop of unknown) {
      const [real, preview] = [await make(stop), await make(stop, '?preview=true')]
      expect(real.status).toBeGreaterThanOrEqual(400)
      expect([preview.status, preview.body.code, preview.body.message], stop.name).toEqual([
        real.status,
        real.body.code,
        real.body.message,
      ])
    }
    for (const stop of STOPS.filter(({ platform }) => platform !== true)) {
      for (const kind of KEY_KINDS) {
        const may =
          kind === 'full' ||
          kind === 'admin' ||
          kind === 'operator' ||
          (kind === 'stop' && stop.path !== PATHS.remove)
        const { status, body } = await make(stop, '?preview=true', authority.keys[kind])
        expect([status, body.code ?? 'ok'], `${kind} ${stop.name}`).toEqual(
          may ? [200, 'ok'] : [403, 'INSUFFICIENT_SCOPE'],
        )
      }
      expect((await make(stop, '?preview=true', 'org_no_key')).status).toBe(401)
    }
    const asked = { orgId: authority.orgId, tier: 'free' }
    const wrong = { authorization: 'Bearer wrong' }
    expect((await authority.post(`${PATHS.orgPlan}?preview=true`, asked, undefined, wrong)).status).toBe(401)
    expect(dump(authority.file)).toEqual(rows)
  })

  test('that is misspelt is refused, over both lanes, and never becomes the stop itself', async () => {
    await using authority = await startTestLanes({ platformToken: PLATFORM_TOKEN })
    for (const deviceId of IDS) await authority.register(deviceId)
    const rows = dump(authority.file)
    const queries = [
      '?',
      '?preview',
      '?preview=',
      '?preview=1',
      '?preview=TRUE',
      '?preview=yes',
      '?Preview=true',
      '?preview=true&x=1',
      '?x=1&preview=true',
      '?preview=true&preview=false',
      '?preview=false&preview=true',
      '?preview[]=true',
      '?preview=true%00',
      '?dryRun=true',
      '?dry_run=true',
    ]
    for (const { path, body, platform } of STOPS) {
      for (const query of queries) {
        for (const url of [authority.url, authority.operatorUrl]) {
          const response = await fetch(`${url}${path}${query}`, {
            method: 'POST',
            headers: {
              'content-type': 'application/json',
              ...(platform === true
                ? { authorization: `Bearer ${PLATFORM_TOKEN}` }
                : { 'x-org-key': authority.keys.full }),
            },
            body: JSON.stringify({ ...body, ...(platform === true && { orgId: authority.orgId }) }),
          })
          const answer = (await response.json()) as { code: string }
          expect([response.status, answer.code], `${path}${query}`).toEqual([400, 'BAD_REQUEST'])
        }
      }
    }
    expect(dump(authority.file)).toEqual(rows)
  })

  test('is not offered by what restores, and ?preview=false is the stop itself', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(ONE)
    const { keys, post } = authority
    expect((await post(`${PATHS.revoke}?preview=false`, { deviceId: ONE }, keys.stop)).body.epoch).toBe(1)
    const rows = dump(authority.file)
    for (const [path, body] of [
      [PATHS.unrevoke, { deviceId: ONE, ifEpoch: 1 }],
      [PATHS.unrevokeBatch, { items: [{ deviceId: ONE, ifEpoch: 1 }] }],
      [PATHS.orgEnable, { ifEpoch: 0 }],
      [PATHS.lockRelease.replace(':id', 'x'), { ifEpoch: 0 }],
      [PATHS.register, { deviceId: 'agent:test:new:1' }],
    ] as const) {
      const { status, body: answer } = await post(`${path}?preview=true`, body, keys.full)
      expect([status, answer.code], path).toEqual([400, 'BAD_REQUEST'])
    }
    expect(dump(authority.file)).toEqual(rows)
  })
})
