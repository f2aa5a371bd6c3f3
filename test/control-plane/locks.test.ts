import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { patternsMatching } from '../../src/control-plane/patterns.ts'
import { matchesDevicePattern } from '../../src/device-patterns.ts'
import { deviceIdProblem } from '../../src/guard/device.ts'
import { isDevicePattern } from '../../src/machineid/wire-fields.ts'
import { LockListResponse, LockResponse } from '../../src/machineid/wire-locks.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { naivelyMatches } from './naive-patterns.ts'

const PAY = 'openai-agent:prod:payments:*'
const id = (surface: string, n: number) => `openai-agent:prod:${surface}:0${n}`

const ask = (authority: TestControlPlane, path: string, body: object, kind: keyof TestControlPlane['keys']) =>
  authority.post(path, body, authority.keys[kind])
const lock = async (authority: TestControlPlane, pattern: string, more: object = {}) => {
  const { status, body } = await ask(authority, PATHS.locks, { pattern, reason: 'incident', ...more }, 'stop')
  expect(status).toBe(200)
  return LockResponse.parse(body)
}
const release = (
  authority: TestControlPlane,
  lockId: string,
  body: object,
  kind: keyof TestControlPlane['keys'] = 'operator',
) => ask(authority, PATHS.lockRelease.replace(':id', lockId), body, kind)
const code = async (authority: TestControlPlane, deviceId: string) =>
  (await ask(authority, PATHS.validate, { deviceId }, 'runtime')).body.code as string
const locks = async (authority: TestControlPlane, query = '') =>
  LockListResponse.parse((await authority.get(`${PATHS.locks}${query}`, authority.keys.viewer)).body).locks
const usage = async (authority: TestControlPlane) =>
  UsageResponse.parse((await authority.get(PATHS.usage, authority.keys.viewer)).body)

describe('a pattern', () => {
  const segment = fc.constantFrom('a', 'b', 'aa', 'A', 'a.b', '-', '_', '')
  const deviceId = fc
    .array(segment, { minLength: 1, maxLength: 8 })
    .map((segments) => segments.join(':'))
    .filter((text) => deviceIdProblem(text) === undefined)
  const pattern = fc
    .array(fc.oneof(segment, fc.constant('*')), { minLength: 1, maxLength: 8 })
    .map((segments) => segments.join(':'))
    .filter(isDevicePattern)

  test.each([
    ['a:b:c:d', 'a:b:c:d', true],
    ['a:b:c:d', 'a:b:c:D', false],
    ['a:b:*', 'a:b:c', true],
    ['a:b:*', 'a:b:c:d:e:f:g:h', true],
    ['a:b:*', 'a:b', false],
    ['a:*:c', 'a:b:c', true],
    ['a:*:c', 'a:b:b:c', false],
    ['a:*:*', 'a:b:c:d', true],
    ['a:*:*', 'a:b', false],
    ['*', 'anything:at:all', true],
    ['*:b', 'a:b', true],
    ['a.b', 'a-b', false],
    ['a:b', 'a:b:', false],
  ])('%s on %s: %s', (text, device, matches) => {
    expect(matchesDevicePattern(text, device)).toBe(matches)
    expect(naivelyMatches(text, device)).toBe(matches)
  })

  test('matches what a second, naive implementation says, and is looked up where it matches', () => {
    fc.assert(
      fc.property(deviceId, pattern, (device, text) => {
        const expected = naivelyMatches(text, device)
        expect(matchesDevicePattern(text, device)).toBe(expected)
        expect(patternsMatching(device).includes(text)).toBe(expected)
      }),
      { numRuns: 20_000 },
    )
  })

  test('is looked up once, among at most 383', () => {
    fc.assert(
      fc.property(deviceId, (device) => {
        const patterns = patternsMatching(device)
        expect(new Set(patterns).size).toBe(patterns.length)
        expect(patterns.length).toBeLessThanOrEqual(383)
      }),
    )
    expect(patternsMatching('a:b:c:d')).toHaveLength(23)
    expect(patternsMatching('a:b:c:d:e:f:g:h')).toHaveLength(383)
  })

  test(
    'locks over HTTP just the devices that it matches, those registered later too',
    { timeout: 60_000 },
    async () => {
      await using authority = await startTestLanes()
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(deviceId, { minLength: 2, maxLength: 12 }),
          fc.uniqueArray(pattern, { minLength: 1, maxLength: 4 }),
          fc.nat(),
          async (devices, patterns, choice) => {
            const { orgId, keys } = await authority.service.createOrg({ kinds: ['full'] })
            const platform = { actor: 'platform', kind: 'platform', requestId: null, origin: null } as const
            await authority.service.setPlan(platform, orgId, { tier: 'pro' })
            const post = (path: string, body: object) => authority.post(path, body, keys.full)
            const half = Math.floor(devices.length / 2)
            for (const device of devices.slice(0, half)) await post(PATHS.register, { deviceId: device })
            const held = new Map<string, LockResponseBody>()
            for (const text of patterns)
              held.set(text, (await post(PATHS.locks, { pattern: text, reason: 'x' })).body)
            for (const device of devices.slice(half)) {
              const locked = patterns.some((text) => naivelyMatches(text, device))
              const { body } = await post(PATHS.register, { deviceId: device })
              expect(body.stillDeniedBy).toEqual(locked ? ['DEVICE_LOCKED'] : undefined)
            }
            const compare = async () => {
              const { body } = await post(PATHS.validateBatch, { deviceIds: devices, nonce: 'n'.repeat(22) })
              expect(body.decisions.map((decision: { code: string }) => decision.code)).toEqual(
                devices.map((device) =>
                  [...held.keys()].some((text) => naivelyMatches(text, device)) ? 'DEVICE_LOCKED' : 'ALLOW',
                ),
              )
            }
            await compare()
            const released = patterns[choice % patterns.length] as string
            const { lockId = '', epoch } = held.get(released) ?? {}
            held.delete(released)
            await post(PATHS.lockRelease.replace(':id', lockId), { ifEpoch: epoch })
            await compare()
          },
        ),
        { numRuns: 40 },
      )
    },
  )
})

interface LockResponseBody {
  readonly lockId: string
  readonly epoch: number
}

describe('a lock', () => {
  test('G1: stops present and future devices of its surface, from its ack on, and no other', async () => {
    await using authority = await startTestLanes()
    for (const deviceId of [id('payments', 1), id('email', 1)]) await authority.register(deviceId)
    for (let round = 2; round < 12; round++) {
      const { lockId, epoch } = await lock(authority, PAY)
      expect(await code(authority, id('payments', 1))).toBe('DEVICE_LOCKED')
      await authority.register(id('payments', round))
      expect(await code(authority, id('payments', round))).toBe('DEVICE_LOCKED')
      expect(await code(authority, id('email', 1))).toBe('ALLOW')
      expect((await release(authority, lockId, { ifEpoch: epoch })).status).toBe(200)
      expect(await code(authority, id('payments', round))).toBe('ALLOW')
    }
  })

  test('is one of several: a device goes on only when the last of them is released', async () => {
    await using authority = await startTestControlPlane()
    const deviceId = id('payments', 1)
    await authority.register(deviceId)
    const held = []
    for (const pattern of [PAY, deviceId, '*', 'openai-agent:*:payments:01'])
      held.push(await lock(authority, pattern))
    for (const { lockId, epoch } of held) {
      expect(await code(authority, deviceId)).toBe('DEVICE_LOCKED')
      expect((await release(authority, lockId, { ifEpoch: epoch })).body.active).toBe(false)
    }
    expect(await code(authority, deviceId)).toBe('ALLOW')
    expect(await usage(authority)).toMatchObject({ locks: 0 })
  })

  test('G6: is released against its epoch, whoever asks, with a full key too', async () => {
    await using authority = await startTestControlPlane()
    const { lockId, epoch } = await lock(authority, PAY)
    for (const kind of KEY_KINDS) {
      const may = kind === 'operator' || kind === 'admin' || kind === 'full'
      const without = await release(authority, lockId, {}, kind)
      const stale = await release(authority, lockId, { ifEpoch: epoch - 1 }, kind)
      expect([without.status, stale.status], kind).toEqual(may ? [428, 409] : [403, 403])
      if (may) expect([without.body.epoch, stale.body.epoch]).toEqual([epoch, epoch])
      if (!may) expect((await release(authority, lockId, { ifEpoch: epoch }, kind)).status, kind).toBe(403)
    }
    expect((await locks(authority)).map(({ active }) => active)).toEqual([true])
    expect((await release(authority, 'no-such-lock', { ifEpoch: 0 })).body.code).toBe('LOCK_NOT_FOUND')
    const other = await authority.service.createOrg({ kinds: ['full'] })
    const path = PATHS.lockRelease.replace(':id', lockId)
    expect((await authority.post(path, { ifEpoch: epoch }, other.keys.full)).body.code).toBe('LOCK_NOT_FOUND')
  })

  test('G6: of a locked pattern is a new stop of the same lock, with a new epoch and reason', async () => {
    await using authority = await startTestControlPlane()
    const first = await lock(authority, PAY, { remindAfterSeconds: 60 })
    const second = await lock(authority, PAY, { reason: 'again' })
    expect(second).toMatchObject({ lockId: first.lockId, epoch: first.epoch + 1 })
    expect(await locks(authority)).toMatchObject([{ lockId: first.lockId, reason: 'again', remindAt: null }])
    expect((await release(authority, first.lockId, { ifEpoch: first.epoch })).status).toBe(409)
    expect((await release(authority, first.lockId, { ifEpoch: second.epoch })).status).toBe(200)

    const third = await lock(authority, PAY)
    expect(third.lockId).not.toBe(first.lockId)
    await authority.register(id('payments', 1))
    for (const ifEpoch of [first.epoch, second.epoch, third.epoch]) {
      await release(authority, first.lockId, { ifEpoch })
      expect(await code(authority, id('payments', 1))).toBe('DEVICE_LOCKED')
    }
    expect(await locks(authority)).toHaveLength(1)
    expect((await locks(authority, '?all=true')).map(({ active }) => active)).toEqual([false, true])
  })

  test('is told by whatever restores a device under it', async () => {
    await using authority = await startTestControlPlane()
    const deviceId = id('payments', 1)
    await authority.register(deviceId)
    const revoked = await authority.revoke(deviceId)
    await lock(authority, PAY)
    const restored = await ask(authority, PATHS.unrevoke, { deviceId, ifEpoch: revoked }, 'operator')
    expect(restored.body.stillDeniedBy).toEqual(['DEVICE_LOCKED'])
    const again = await authority.revoke(deviceId)
    const items = [{ deviceId, ifEpoch: again }]
    const batch = await ask(authority, PATHS.unrevokeBatch, { items }, 'operator')
    expect(batch.body.results[0].stillDeniedBy).toEqual(['DEVICE_LOCKED'])
    const removed = await ask(authority, PATHS.remove, { deviceId }, 'operator')
    const form = { deviceId, restoreRemoved: true, ifEpoch: removed.body.epoch }
    const back = await ask(authority, PATHS.register, form, 'operator')
    expect(back.body).toMatchObject({ status: 'ok', stillDeniedBy: ['DEVICE_LOCKED'] })
    const added = await ask(authority, PATHS.register, { deviceId: id('payments', 2) }, 'runtime')
    expect(added.body).toMatchObject({ status: 'ok', stillDeniedBy: ['DEVICE_LOCKED'] })
    expect(
      (await ask(authority, PATHS.register, { deviceId: id('email', 1) }, 'runtime')).body,
    ).not.toHaveProperty('stillDeniedBy')
  })

  test('takes no reason for granted, and no pattern that is none', async () => {
    await using authority = await startTestControlPlane()
    for (const body of [
      { pattern: PAY },
      { pattern: PAY, reason: '' },
      { pattern: 'a:b*', reason: 'x' },
      { pattern: '', reason: 'x' },
      { pattern: 'a:b:c:d:e:f:g:h:*', reason: 'x' },
      { pattern: PAY, reason: 'x', remindAfterSeconds: 1 },
    ]) {
      expect((await ask(authority, PATHS.locks, body, 'admin')).status, JSON.stringify(body)).toBe(400)
    }
    expect(await locks(authority)).toEqual([])
  })
})
