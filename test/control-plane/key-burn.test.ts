import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PreviewResponse } from '../../src/machineid/wire-devices.ts'
import { KeyBurnResponse, KeyListResponse } from '../../src/machineid/wire-keys.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_KINDS, type KeyKind } from '../../src/machineid/wire.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'
import { auditOf, burnPath, caller, idOf, orgEpoch, rotatePath, settableClock, verdict } from './key-calls.ts'
import { createWorld, DEVICE, dump, KEY_CALLS, TESTER, type World } from './key-matrix.ts'

const listed = async ({ get, keys }: TestControlPlane, keyId: string) =>
  KeyListResponse.parse((await get(PATHS.keys, keys.full)).body).keys.find((key) => key.keyId === keyId)

describe('burning a key', () => {
  test('ends it at once and for good, raises the epoch, and says who did it and why', async () => {
    await using authority = await startTestControlPlane()
    const { keys } = authority
    const { validate, burn } = caller(authority)
    await authority.register(DEVICE)
    const before = await orgEpoch(authority)
    const { status, body } = await burn(idOf(keys.runtime), { reason: 'seen in a chat' })
    expect(status).toBe(200)
    expect(KeyBurnResponse.parse(body)).toMatchObject({
      orgId: authority.orgId,
      keyId: idOf(keys.runtime),
      epoch: before + 1,
      orgEpoch: before + 1,
    })
    expect(await validate(keys.runtime)).toBe('401 KEY_BURNED')
    expect(verdict(await authority.post(PATHS.register, { deviceId: DEVICE }, keys.runtime))).toBe(
      '401 KEY_BURNED',
    )
    expect(await validate(keys.full)).toBe('200 ALLOW')
    expect(auditOf(authority, 'key.burn')).toMatchObject([
      { actor: idOf(keys.admin), actor_kind: 'admin', reason: 'seen in a chat', request_id: body.request_id },
    ])
  })

  test('G5: a burned key stays so when the control plane is started anew', async () => {
    await using authority = await startTestControlPlane()
    await caller(authority).burn(idOf(authority.keys.runtime))
    await authority.kill()
    await authority.restart()
    expect(await caller(authority).validate(authority.keys.runtime)).toBe('401 KEY_BURNED')
  })

  test('is unconditional, and each time a new stop', async () => {
    await using authority = await startTestControlPlane()
    const { burn } = caller(authority)
    const keyId = idOf(authority.keys.runtime)
    const first = await burn(keyId)
    const second = await burn(keyId)
    expect(second.body.epoch).toBe(first.body.epoch + 1)
    expect(await listed(authority, keyId)).toMatchObject({ state: 'burned' })
    expect(auditOf(authority, 'key.burn')).toHaveLength(2)
  })

  test('burns a key within its overlap and one after it, and leaves the one that took its place', async () => {
    const { clock, set } = settableClock()
    await using authority = await startTestControlPlane({ clock })
    const { keys, service } = authority
    const { rotate, burn, validate } = caller(authority)
    await authority.register(DEVICE)
    const runtime = await rotate(idOf(keys.runtime), { overlapSeconds: 60 })
    const viewer = await rotate(idOf(keys.viewer), { overlapSeconds: 60 })
    expect((await burn(idOf(keys.runtime))).status).toBe(200)
    expect(await validate(keys.runtime)).toBe('401 KEY_BURNED')
    expect(await validate(runtime.body.key)).toBe('200 ALLOW')

    set(60_000)
    await service.endKeys()
    expect(await listed(authority, idOf(keys.viewer))).toMatchObject({ state: 'expired' })
    expect(await listed(authority, idOf(keys.runtime))).toMatchObject({ state: 'burned' })
    const before = await orgEpoch(authority)
    expect((await burn(idOf(keys.viewer))).body.epoch).toBe(before + 1)
    expect(await listed(authority, idOf(keys.viewer))).toMatchObject({ state: 'burned' })
    expect((await authority.get(PATHS.usage, viewer.body.key)).status).toBe(200)
  })

  test.each(KEY_KINDS)('a %s key can burn itself', async (kind) => {
    await using authority = await startTestControlPlane()
    const key = authority.keys[kind]
    const { status, body } = await authority.post(burnPath(idOf(key)), {}, key)
    expect({ status, keyId: body.keyId }).toEqual({ status: 200, keyId: idOf(key) })
    expect(verdict(await authority.post(burnPath(idOf(key)), {}, key))).toBe('401 KEY_BURNED')
    expect(auditOf(authority, 'key.burn')).toMatchObject([{ actor: idOf(key), actor_kind: kind }])
  })

  test.each(['runtime', 'viewer', 'stop', 'operator'] as const)(
    'a %s key can burn no other, rotate not even itself, and is not told which keys there are',
    async (kind) => {
      await using authority = await startTestControlPlane()
      const { keys, post } = authority
      const other = await authority.service.issueKey({ orgId: authority.orgId, kind })
      const before = dump(authority.file)
      const tries = [
        await post(burnPath(other.keyId), {}, keys[kind]),
        await post(burnPath(other.keyId.toUpperCase()), {}, keys[kind]),
        await post(burnPath(keys[kind]), {}, keys[kind]),
        await post(burnPath('nothing'), {}, keys[kind]),
        await post(rotatePath(idOf(keys[kind])), {}, keys[kind]),
        await post(rotatePath(other.keyId), {}, keys[kind]),
      ]
      expect(tries.map(verdict)).toEqual(tries.map(() => '403 INSUFFICIENT_SCOPE'))
      expect(dump(authority.file)).toEqual(before)
    },
  )

  test('a preview names the devices that the key was the last to ask for', async () => {
    await using authority = await startTestControlPlane()
    const { keys, service, orgId } = authority
    const { validate, burn } = caller(authority)
    const other = await service.issueKey({ orgId, kind: 'runtime', bindings: ['*'] })
    const [mine, revoked, theirs] = ['a:mine', 'a:revoked', 'a:theirs']
    for (const deviceId of [mine, revoked, theirs, 'a:silent']) await authority.register(deviceId)
    await validate(keys.runtime, theirs)
    for (const deviceId of [mine, revoked]) await validate(other.key, deviceId)
    await validate(other.key, theirs)
    await validate(keys.runtime, mine)
    await validate(keys.runtime, revoked)
    await authority.revoke(revoked)
    const look = async () => {
      const { body } = await authority.post(`${burnPath(idOf(keys.runtime))}?preview=true`, {}, keys.admin)
      return PreviewResponse.parse(body)
    }
    // What lanes have seen is stored within a second or so.
    await expect.poll(look, { timeout: 5000 }).toMatchObject({
      deviceCount: 2,
      truncated: false,
      hits: 1,
      devices: [
        { deviceId: mine, now: 'ALLOW', then: 'KEY_BURNED' },
        { deviceId: revoked, now: 'DEVICE_REVOKED', then: 'KEY_BURNED' },
      ],
    })
    expect(await validate(keys.runtime, mine)).toBe('200 ALLOW')
    await burn(idOf(keys.runtime))
    expect(await look()).toMatchObject({ hits: 0, devices: [{ now: 'KEY_BURNED' }, { now: 'KEY_BURNED' }] })
  })
})

describe('G1', () => {
  let authority: TestControlPlane
  beforeAll(async () => {
    authority = await startTestLanes({ workers: 1 })
    await authority.register(DEVICE)
  })
  afterAll(() => authority.close())

  const IN_FLIGHT = 100
  const ASKED_AFTER = 20
  test.each(['burn', 'burn', 'burn', 'rotate', 'rotate'])(
    'a validate sent after the ack of a %s is 401, with a hundred of them in flight at any time',
    async (how) => {
      const { service, orgId, operatorUrl, url, keys } = authority
      const { key, keyId } = await service.issueKey({ orgId, kind: 'runtime', bindings: ['*'] })
      const agent = new Agent({ connections: IN_FLIGHT })
      const validate = async () => {
        const { statusCode, body } = await request(`${url}${PATHS.validate}`, {
          method: 'POST',
          dispatcher: agent,
          headers: { 'x-org-key': key, 'content-type': 'application/json' },
          body: JSON.stringify({ deviceId: DEVICE }),
        })
        return `${statusCode} ${((await body.json()) as { code: string }).code}`
      }
      let acked = false
      const warm = Promise.withResolvers<void>()
      const answers = { before: new Map<string, number>(), after: new Map<string, number>() }
      const ask = async () => {
        for (let after = 0; after < ASKED_AFTER;) {
          const counted = acked ? answers.after : answers.before
          if (acked) after++
          const answer = await validate()
          counted.set(answer, (counted.get(answer) ?? 0) + 1)
          if ((answers.before.get('200 ALLOW') ?? 0) > 10 * IN_FLIGHT) warm.resolve()
        }
      }
      const asking = Promise.all(Array.from({ length: IN_FLIGHT }, ask))
      await warm.promise
      const path = how === 'burn' ? burnPath(keyId) : rotatePath(keyId)
      const { statusCode, body } = await request(`${operatorUrl}${path}`, {
        method: 'POST',
        headers: { 'x-org-key': keys.admin, 'content-type': 'application/json' },
        body: JSON.stringify(how === 'burn' ? {} : { overlapSeconds: 0 }),
      })
      acked = true
      expect(statusCode).toBe(200)
      await body.dump()
      await asking
      await agent.close()
      expect(Object.fromEntries(answers.after)).toEqual({ '401 KEY_BURNED': IN_FLIGHT * ASKED_AFTER })
    },
    30_000,
  )
})

describe('G6: a change asked for with a key that was burned meanwhile does not happen', () => {
  let authority: TestControlPlane
  let world: World
  beforeAll(async () => {
    authority = await startTestControlPlane({ plan: 'max' })
    world = createWorld(authority)
    await authority.service.register(TESTER, authority.orgId, { deviceId: DEVICE })
  })
  afterAll(() => authority.close())

  // Validates read their body before they look at the key, so there is nothing in between; a key alone refreshes nothing.
  const others: readonly string[] = [PATHS.validate, PATHS.validateBatch, PATHS.sessionRefresh]
  const changes = KEY_CALLS.filter(({ method, path }) => method === 'POST' && !others.includes(path))
  const cases = changes.flatMap((call) => [
    { ...call, how: 'burned' },
    { ...call, how: 'rotated without an overlap' },
  ])

  test.each(cases)('$name, the key $how', async ({ path, access, make, how }) => {
    const { service, orgId, url } = authority
    const { key, keyId } = await service.issueKey({ orgId, kind: access.at(-1) as KeyKind, caller: TESTER })
    const { id = '', body } = (await make?.(world)) ?? {}
    const text = JSON.stringify(body)

    const asked = httpRequest(`${url}${path.replace(':id', id)}`, {
      method: 'POST',
      headers: { 'x-org-key': key, 'content-type': 'application/json', 'content-length': text.length },
    })
    const answered = once(asked, 'response') as Promise<[IncomingMessage]>
    asked.write(text.slice(0, 1))
    // The key counts as used once it was let in: from then on the call waits for its body only.
    while (!(await isUsed(keyId))) await sleep(1)
    if (how === 'burned') await service.burnKey(TESTER, orgId, { keyId })
    else await service.rotateKey(TESTER, orgId, { keyId, overlapSeconds: 0 })
    const before = dump(authority.file, { without: ['keys_seen'] })
    asked.end(text.slice(1))

    const [response] = await answered
    expect(verdict({ status: response.statusCode ?? 0, body: (await json(response)) as object })).toBe(
      '401 KEY_BURNED',
    )
    expect(dump(authority.file, { without: ['keys_seen'] })).toEqual(before)
  })

  const isUsed = async (wanted: string) => {
    await authority.service.decisions.flush()
    const found = (await authority.service.listKeys(authority.orgId)).find(({ keyId }) => keyId === wanted)
    return typeof found?.lastUsedAtMs === 'number'
  }
})
