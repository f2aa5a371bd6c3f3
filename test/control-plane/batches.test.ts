import { describe, expect, test } from 'vitest'

import { ChangeBatchResponse, ListResponse, PreviewResponse } from '../../src/machineid/wire-devices.ts'
import { UsageResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { auditOf, dump } from './dump.ts'
import { plantDevices } from './plant.ts'

const id = (n: number, surface = 'payments') => `openai-agent:prod:${surface}:${n}`

const ask = (authority: TestControlPlane, path: string, body: object, kind: keyof TestControlPlane['keys']) =>
  authority.post(path, body, authority.keys[kind])
const batch = async (
  authority: TestControlPlane,
  path: string,
  body: object,
  kind: keyof TestControlPlane['keys'] = 'operator',
) => {
  const answer = await ask(authority, path, body, kind)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return ChangeBatchResponse.parse(answer.body)
}
const devices = async (authority: TestControlPlane) =>
  ListResponse.parse((await authority.get(PATHS.list, authority.keys.viewer)).body).devices
const orgEpoch = async (authority: TestControlPlane) =>
  UsageResponse.parse((await authority.get(PATHS.usage, authority.keys.viewer)).body).orgEpoch
const code = async (authority: TestControlPlane, deviceId: string) =>
  (await ask(authority, PATHS.validate, { deviceId }, 'runtime')).body.code as string

async function plant(authority: TestControlPlane, count: number, labels = {}): Promise<void> {
  await authority.kill()
  const ids = Array.from({ length: count }, (_, n) => id(n))
  await plantDevices(authority.file, authority.orgId, ids, labels)
  await authority.restart()
}

describe('revoke_batch', () => {
  test('by list: in one epoch and one transaction, item by item in the order that was asked', async () => {
    await using authority = await startTestControlPlane()
    for (const n of [1, 2, 3]) await authority.register(id(n))
    await ask(authority, PATHS.remove, { deviceId: id(3) }, 'operator')
    const before = await orgEpoch(authority)
    const deviceIds = [id(2), 'nobody:knows:this', id(1), id(2), id(3), id(1)]
    const { results, ...answer } = await batch(
      authority,
      PATHS.revokeBatch,
      { deviceIds, reason: 'leak' },
      'stop',
    )
    const epoch = before + 1
    expect(answer).toMatchObject({ changed: 3, orgEpoch: epoch, handler: 'devices/revoke_batch' })
    expect(results).toEqual([
      { deviceId: id(2), ok: true, epoch },
      { deviceId: 'nobody:knows:this', ok: false, code: 'DEVICE_NOT_REGISTERED', epoch: 0 },
      { deviceId: id(1), ok: true, epoch },
      // A tombstone keeps its revoked flag, so it can be revoked too.
      { deviceId: id(3), ok: true, epoch },
    ])
    expect(await devices(authority)).toMatchObject(
      [1, 2].map((n) => ({ deviceId: id(n), revoked: true, epoch, reason: 'leak' })),
    )
    expect(await code(authority, id(1))).toBe('DEVICE_REVOKED')
    const rows = auditOf(authority.file, authority.orgId).filter(({ action }) => action === 'device.revoke')
    expect(rows.map(({ deviceId }) => deviceId)).toEqual([id(2), id(1), id(3)])
  })

  test('by pattern: the devices there are, in byte order, and none that are registered later', async () => {
    await using authority = await startTestControlPlane()
    for (const [n, surface] of [
      [2, 'payments'],
      [1, 'payments'],
      [1, 'email'],
    ] as const)
      await authority.register(id(n, surface))
    await authority.register('openai-agent:prod:payments')
    const { results } = await batch(
      authority,
      PATHS.revokeBatch,
      { pattern: 'openai-agent:*:payments:*' },
      'stop',
    )
    expect(results.map(({ deviceId }) => deviceId)).toEqual([id(1), id(2)])
    await authority.register(id(3))
    expect(await code(authority, id(3))).toBe('ALLOW')
    expect(await code(authority, id(1, 'email'))).toBe('ALLOW')
    expect(await code(authority, 'openai-agent:prod:payments')).toBe('ALLOW')
    const exact = await batch(authority, PATHS.revokeBatch, { pattern: id(3) }, 'stop')
    expect(exact.results).toMatchObject([{ deviceId: id(3), ok: true }])
  })

  test.each([
    ['team', 'billing'],
    ['a"b\\c', 'x'],
    ['$.x', '1'],
    ['constructor', 'true'],
    ['ünï 💳', 'null'],
    ['empty', ''],
  ])('by label %s = %s: exactly those', async (name, value) => {
    await using authority = await startTestControlPlane()
    const register = (n: number, labels: object) =>
      ask(authority, PATHS.register, { deviceId: id(n), labels }, 'runtime')
    const label = (text: string) => ({ [name]: text })
    await register(1, label(value))
    await register(2, { ...label(value), other: 'y' })
    await register(3, label(`${value}-not`))
    await register(4, { other: value })
    await register(5, {})
    const { results } = await batch(authority, PATHS.revokeBatch, { label: { name, value } }, 'stop')
    expect(results.map(({ deviceId }) => deviceId)).toEqual([id(1), id(2)])
  })

  test('of nobody changes nothing, raises no epoch and writes no audit row', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(id(1))
    const before = dump(authority.file)
    for (const body of [
      { deviceIds: ['a:b:c'] },
      { pattern: 'a:b:*' },
      { label: { name: 'team', value: 'nobody' } },
    ]) {
      expect(await batch(authority, PATHS.revokeBatch, body, 'stop')).toMatchObject({
        changed: 0,
        orgEpoch: 0,
      })
    }
    expect(dump(authority.file)).toEqual(before)
  })

  test('takes one of list, pattern and label, and never more than 1,000 IDs', async () => {
    await using authority = await startTestControlPlane()
    const ids = (count: number) => Array.from({ length: count }, (_, n) => `${id(n)}${'.x'.repeat(45)}`)
    for (const body of [
      {},
      { deviceIds: [] },
      { deviceIds: ids(1001) },
      { deviceIds: [id(1)], pattern: '*' },
      { pattern: '*', label: { name: 'a', value: 'b' } },
      { label: { name: '', value: 'b' } },
      { deviceIds: [id(1), 'no way'] },
    ]) {
      expect((await ask(authority, PATHS.revokeBatch, body, 'stop')).status, JSON.stringify(body)).toBe(400)
    }
    expect(
      (await batch(authority, PATHS.revokeBatch, { deviceIds: ids(1000) }, 'stop')).results,
    ).toHaveLength(1000)
    for (const kind of ['viewer', 'runtime'] as const) {
      expect((await ask(authority, PATHS.revokeBatch, { pattern: '*' }, kind)).status).toBe(403)
    }
  })

  test('stops 1,000 devices in one call', async () => {
    await using authority = await startTestControlPlane()
    await plant(authority, 1000)
    const deviceIds = Array.from({ length: 1000 }, (_, n) => id(n))
    const { changed, results } = await batch(authority, PATHS.revokeBatch, { deviceIds }, 'stop')
    expect(changed).toBe(1000)
    expect(new Set(results.map(({ epoch }) => epoch))).toEqual(new Set([1]))
    expect((await devices(authority)).filter(({ revoked }) => revoked)).toHaveLength(1000)
  })

  test('stops 10,000 by pattern or label, refuses one more as a whole, and names the lock that does it', async () => {
    await using authority = await startTestControlPlane()
    await plant(authority, 10_001, { team: 'billing' })
    const before = dump(authority.file)
    for (const selection of [{ pattern: '*' }, { label: { name: 'team', value: 'billing' } }]) {
      for (const query of ['', '?preview=true']) {
        const { status, body } = await ask(authority, `${PATHS.revokeBatch}${query}`, selection, 'stop')
        expect({ status, code: body.code }).toEqual({ status: 400, code: 'TOO_MANY_DEVICES' })
        expect(body.message).toContain('10001')
        expect(body.message).toContain('/api/v1/locks')
      }
    }
    expect(dump(authority.file)).toEqual(before)

    await ask(authority, PATHS.remove, { deviceId: id(0) }, 'operator')
    expect(await batch(authority, PATHS.revokeBatch, { pattern: '*' }, 'stop')).toMatchObject({
      changed: 10_000,
    })
    const preview = await ask(authority, `${PATHS.locks}?preview=true`, { pattern: '*', reason: 'x' }, 'stop')
    expect(PreviewResponse.parse(preview.body)).toMatchObject({ deviceCount: 10_000, truncated: true })
    const first = (await devices(authority))[0]?.deviceId ?? ''
    await ask(authority, PATHS.unrevoke, { deviceId: first }, 'full')
    expect(await code(authority, first)).toBe('ALLOW')
    await ask(authority, PATHS.locks, { pattern: '*', reason: 'everything' }, 'stop')
    expect(await code(authority, first)).toBe('DEVICE_LOCKED')
  })
})

describe('unrevoke_batch', () => {
  test('G6: judges each item by its own epoch; those that are refused hinder no other', async () => {
    await using authority = await startTestControlPlane()
    for (const n of [1, 2, 3, 4, 5]) await authority.register(id(n))
    const epochs = new Map<number, number>()
    for (const n of [1, 2, 3, 4, 5]) epochs.set(n, await authority.revoke(id(n)))
    const removed = await ask(authority, PATHS.remove, { deviceId: id(5) }, 'operator')
    const before = await orgEpoch(authority)
    const items = [
      { deviceId: id(1), ifEpoch: epochs.get(1) },
      { deviceId: id(2), ifEpoch: Number(epochs.get(2)) - 1 },
      { deviceId: id(3) },
      { deviceId: 'nobody:knows:this', ifEpoch: 0 },
      { deviceId: id(4), ifEpoch: epochs.get(4) },
      { deviceId: id(4), ifEpoch: epochs.get(4) },
      { deviceId: id(5), ifEpoch: removed.body.epoch },
    ]
    const { results, changed, orgEpoch: now } = await batch(authority, PATHS.unrevokeBatch, { items })
    const epoch = before + 1
    expect({ changed, now }).toEqual({ changed: 3, now: epoch })
    expect(results).toEqual([
      { deviceId: id(1), ok: true, epoch, stillDeniedBy: [] },
      { deviceId: id(2), ok: false, code: 'EPOCH_STALE', epoch: epochs.get(2) },
      { deviceId: id(3), ok: false, code: 'EPOCH_REQUIRED', epoch: epochs.get(3) },
      { deviceId: 'nobody:knows:this', ok: false, code: 'DEVICE_NOT_REGISTERED', epoch: 0 },
      { deviceId: id(4), ok: true, epoch, stillDeniedBy: [] },
      { deviceId: id(4), ok: false, code: 'EPOCH_STALE', epoch },
      { deviceId: id(5), ok: true, epoch, stillDeniedBy: ['DEVICE_REMOVED', 'DEVICE_OVER_LIMIT'] },
    ])
    expect(await Promise.all([1, 2, 3, 4, 5].map((n) => code(authority, id(n))))).toEqual([
      'ALLOW',
      'DEVICE_REVOKED',
      'DEVICE_REVOKED',
      'ALLOW',
      'DEVICE_REMOVED',
    ])
  })

  test('G6: that was rendered before a batch of stops undoes none of them, nor does a second copy', async () => {
    await using authority = await startTestControlPlane()
    const ids = [1, 2, 3].map((n) => id(n))
    for (const deviceId of ids) await authority.register(deviceId)
    const { orgEpoch: ifEpoch } = await batch(authority, PATHS.revokeBatch, { deviceIds: ids }, 'stop')
    const form = { items: ids.map((deviceId) => ({ deviceId, ifEpoch })) }
    await batch(authority, PATHS.revokeBatch, { pattern: '*' }, 'stop')
    for (let copies = 0; copies < 2; copies++) {
      expect(
        (await batch(authority, PATHS.unrevokeBatch, form)).results.map((result) => result.code),
      ).toEqual(ids.map(() => 'EPOCH_STALE'))
    }
    expect((await devices(authority)).every(({ revoked }) => revoked)).toBe(true)
  })

  test('without epochs restores for a full key only, and refuses it an epoch that is stale', async () => {
    await using authority = await startTestControlPlane()
    for (const n of [1, 2]) await authority.register(id(n))
    const { orgEpoch: epoch } = await batch(authority, PATHS.revokeBatch, { pattern: '*' }, 'stop')
    const items = [{ deviceId: id(1) }, { deviceId: id(2), ifEpoch: epoch - 1 }]
    for (const kind of ['operator', 'admin'] as const) {
      expect(
        (await batch(authority, PATHS.unrevokeBatch, { items }, kind)).results.map((result) => result.code),
      ).toEqual(['EPOCH_REQUIRED', 'EPOCH_STALE'])
    }
    for (const kind of ['stop', 'viewer', 'runtime'] as const) {
      expect((await ask(authority, PATHS.unrevokeBatch, { items }, kind)).status).toBe(403)
    }
    expect((await batch(authority, PATHS.unrevokeBatch, { items }, 'full')).results).toMatchObject([
      { ok: true },
      { ok: false, code: 'EPOCH_STALE' },
    ])
  })

  test('restores 1,000 devices with the longest IDs in one call', async () => {
    await using authority = await startTestControlPlane({ plan: 'max' })
    const ids = Array.from({ length: 1000 }, (_, n) => `${id(n)}:`.padEnd(128, 'x.'))
    await Promise.all(ids.map((deviceId) => authority.register(deviceId)))
    const stopped = await batch(authority, PATHS.revokeBatch, { deviceIds: ids }, 'stop')
    expect(stopped.changed).toBe(1000)
    const items = ids.map((deviceId) => ({ deviceId, ifEpoch: stopped.orgEpoch }))
    const { changed, orgEpoch: epoch } = await batch(authority, PATHS.unrevokeBatch, {
      items,
      reason: 'r'.repeat(500),
    })
    expect({ changed, epoch }).toEqual({ changed: 1000, epoch: stopped.orgEpoch + 1 })
    expect((await devices(authority)).some(({ revoked }) => revoked)).toBe(false)
  })
})

test('batches and single stops at once: each has an epoch of its own, and the last word is the highest', async () => {
  await using authority = await startTestControlPlane()
  const ids = [1, 2, 3, 4].map((n) => id(n))
  for (const deviceId of ids) await authority.register(deviceId)
  const stops = Array.from({ length: 30 }, (_, n) => {
    const deviceId = ids[n % 4] as string
    if (n % 3 === 0) return ask(authority, PATHS.revokeBatch, { deviceIds: ids }, 'stop')
    if (n % 3 === 1) return ask(authority, PATHS.revoke, { deviceId }, 'stop')
    return ask(authority, PATHS.revokeBatch, { pattern: deviceId }, 'stop')
  })
  const epochs = (await Promise.all(stops)).map(({ body }) => body.orgEpoch as number)
  expect(epochs.toSorted((left, right) => left - right)).toEqual(Array.from({ length: 30 }, (_, n) => n + 1))
  expect(await orgEpoch(authority)).toBe(30)
  expect((await devices(authority)).every(({ revoked }) => revoked)).toBe(true)
})
