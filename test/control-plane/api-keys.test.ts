import { describe, expect, test } from 'vitest'

import { keyIdOf, mintKey } from '../../src/control-plane/keys.ts'
import { KeyCreateResponse, KeyListResponse } from '../../src/machineid/wire-keys.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import {
  at,
  auditOf,
  burnPath,
  caller,
  DAY_MS,
  idOf,
  orgEpoch,
  rotatePath,
  settableClock,
} from './key-calls.ts'
import { DEVICE, dump, NONCE } from './key-matrix.ts'

describe('issuing a key', () => {
  test('shows it once, with its id, and it works at once', async () => {
    await using authority = await startTestControlPlane()
    await authority.register(DEVICE)
    const asked = { kind: 'runtime', name: 'billing', bindings: ['openai-agent:test:*', 'other:01'] }
    const { status, body } = await authority.post(PATHS.keys, asked, authority.keys.admin)
    expect(status).toBe(200)
    const issued = KeyCreateResponse.parse(body)
    expect(issued).toMatchObject({ orgId: authority.orgId, kind: 'runtime', keyId: keyIdOf(issued.key) })
    expect(await caller(authority).validate(issued.key)).toBe('200 ALLOW')
    expect(auditOf(authority, 'key.issue').at(-1)).toMatchObject({
      actor: idOf(authority.keys.admin),
      actor_kind: 'admin',
      after: expect.stringContaining('"bindings":["openai-agent:test:*","other:01"]') as string,
    })
  })

  test('raises no epoch: it is neither a stop nor a restore', async () => {
    await using authority = await startTestControlPlane()
    const before = await orgEpoch(authority)
    await authority.post(PATHS.keys, { kind: 'stop' }, authority.keys.admin)
    expect(await orgEpoch(authority)).toBe(before)
  })

  test.each([
    [{ kind: 'runtime' }, '"bindings"'],
    [{ kind: 'runtime', bindings: [] }, '"bindings"'],
    [{ kind: 'runtime', bindings: ['a:b', 'pay*'] }, '"bindings[1]"'],
    [{ kind: 'runtime', bindings: Array.from({ length: 65 }, (_, n) => `a:${n}`) }, '"bindings"'],
    [{ kind: 'operator', bindings: ['a:b'] }, '"bindings"'],
    [{ kind: 'root' }, '"kind"'],
    [{}, '"kind"'],
    [{ kind: 'viewer', name: 7 }, '"name"'],
    [{ kind: 'viewer', name: '' }, '"name"'],
  ])('%j is refused: it names %s', async (asked, field) => {
    await using authority = await startTestControlPlane()
    const before = (await authority.service.listKeys(authority.orgId)).length
    const { status, body } = await authority.post(PATHS.keys, asked, authority.keys.admin)
    expect({ status, code: body.code }).toEqual({ status: 400, code: 'BAD_REQUEST' })
    expect(body.message).toContain(field)
    expect(await authority.service.listKeys(authority.orgId)).toHaveLength(before)
  })

  test('by the service, nonsense, no devices at all, other kinds and other orgs are refused too', async () => {
    await using authority = await startTestControlPlane()
    const { service, orgId } = authority
    const issue = (kind: KeyKind, bindings: string[]) => service.issueKey({ orgId, kind, bindings })
    await expect(issue('runtime', [])).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    await expect(issue('runtime', ['a:b', 'pay*'])).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    await expect(issue('operator', ['a:b'])).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    await expect(service.issueKey({ orgId: 'o_none', kind: 'stop' })).rejects.toMatchObject({
      code: 'ORG_NOT_FOUND',
    })
  })
})

test('the service knows a genuine key, an ended one too, and no other text', async () => {
  await using authority = await startTestControlPlane()
  const { service, keys, orgId } = authority
  expect(await service.findKey(keys.operator)).toMatchObject({ orgId, kind: 'operator', endedAs: null })
  await caller(authority).burn(idOf(keys.operator))
  expect(await service.findKey(keys.operator)).toMatchObject({ orgId, endedAs: 'burned' })
  for (const text of ['', idOf(keys.operator), keys.operator.slice(0, -1), mintKey('operator').key]) {
    expect(await service.findKey(text)).toBeUndefined()
  }
})

describe('a bound runtime key', () => {
  test('asks and registers for its own devices only, and gets no decision about others', async () => {
    await using authority = await startTestControlPlane({ bindings: ['a:test:*', 'b:test:exact:01'] })
    const key = authority.keys.runtime
    const batch = (...deviceIds: string[]) =>
      authority.post(PATHS.validateBatch, { deviceIds, nonce: NONCE }, key)
    for (const own of ['a:test:payments:01', 'a:test:x', 'b:test:exact:01']) {
      expect((await authority.post(PATHS.register, { deviceId: own }, key)).status).toBe(200)
      expect(await caller(authority).validate(key, own)).toBe('200 ALLOW')
    }
    expect((await batch('a:test:x', 'b:test:exact:01')).status).toBe(200)

    await authority.register('b:test:exact:02')
    await authority.service.decisions.flush()
    const before = dump(authority.file, { without: ['keys_seen', 'devices_seen'] })
    const outside = 'b:test:exact:02'
    const answers = [
      await authority.post(PATHS.validate, { deviceId: outside }, key),
      await authority.get(`${PATHS.validate}?deviceId=${outside}`, key),
      await batch(outside),
      await batch('a:test:x', outside),
      await batch(outside, 'a:test:x'),
      await authority.post(PATHS.register, { deviceId: outside }, key),
      await authority.post(PATHS.register, { deviceId: 'b:test:exact:03' }, key),
      await authority.post(PATHS.register, { deviceId: 'a:test' }, key),
      await authority.post(PATHS.register, { deviceId: 'B:test:exact:01' }, key),
    ]
    for (const { status, body } of answers) {
      expect({ status, code: body.code }).toEqual({ status: 403, code: 'KEY_NOT_BOUND_TO_DEVICE' })
      expect(body).not.toHaveProperty('allowed')
      expect(body).not.toHaveProperty('decisions')
    }
    await authority.service.decisions.flush()
    expect(dump(authority.file, { without: ['keys_seen', 'devices_seen'] })).toEqual(before)
  })
})

describe('the list of keys', () => {
  test('shows each key with its state and its last use, and no part of its secret', async () => {
    const { clock, set } = settableClock()
    await using authority = await startTestControlPlane({ clock })
    const { keys, service, orgId } = authority
    const { rotate, burn } = caller(authority)
    const issue = async (name: string) =>
      KeyCreateResponse.parse((await authority.post(PATHS.keys, { kind: 'viewer', name }, keys.admin)).body)
    const [active, ending, expired, burned] = [
      await issue('active'),
      await issue('ending'),
      await issue('expired'),
      await issue('burned'),
    ]
    const successor = (await rotate(ending.keyId)).body.keyId
    await rotate(expired.keyId, { overlapSeconds: 60 })
    await burn(burned.keyId)
    set(90_000)
    await authority.get(PATHS.usage, active.key)
    await service.decisions.flush()

    const answer = await authority.get(PATHS.keys, keys.full)
    const listed = new Map(KeyListResponse.parse(answer.body).keys.map((key) => [key.keyId, key]))
    expect(listed.get(active.keyId)).toEqual({
      keyId: active.keyId,
      kind: 'viewer',
      name: 'active',
      prefix: active.key.slice(0, -51),
      bindings: null,
      state: 'active',
      createdAt: at(0),
      createdBy: idOf(keys.admin),
      lastUsedAt: at(90_000),
      endsAt: null,
      endedAt: null,
      replacedBy: null,
    })
    expect(listed.get(ending.keyId)).toMatchObject({
      state: 'ending',
      lastUsedAt: null,
      endsAt: at(DAY_MS),
      endedAt: null,
      replacedBy: successor,
    })
    // Its overlap has passed, whether or not anybody has latched it yet.
    expect(listed.get(expired.keyId)).toMatchObject({ state: 'expired', endsAt: at(60_000) })
    expect(listed.get(burned.keyId)).toMatchObject({ state: 'burned', endedAt: at(0), replacedBy: null })
    expect(listed.get(idOf(keys.admin))).toMatchObject({ createdBy: 'local', kind: 'admin' })
    expect(listed.size).toBe((await service.listKeys(orgId)).length)
    for (const { key } of [active, ending, expired, burned]) {
      expect(JSON.stringify(answer.body)).not.toContain(key.slice(-51, -30))
    }
    expect(JSON.stringify(answer.body)).not.toContain('digest')
  })
})

test.each([
  ['rotate', rotatePath],
  ['burn', burnPath],
  ['a preview of a burn', (id: string) => `${burnPath(id)}?preview=true`],
])('%s: a key of another org is answered as one that there is not', async (_, path) => {
  await using authority = await startTestControlPlane()
  const other = await authority.service.createOrg({ kinds: ['viewer'] })
  const theirs = idOf(other.keys.viewer ?? '')
  const [first, ...more] = await Promise.all(
    [theirs, idOf(mintKey('viewer').key), 'x', '%00', other.keys.viewer ?? ''].map(async (id) => {
      const { status, body } = await authority.post(path(id), {}, authority.keys.admin)
      return { status, ...body, request_id: '' }
    }),
  )
  expect(first).toMatchObject({ status: 'error', code: 'KEY_NOT_FOUND' })
  for (const answer of more) expect(answer).toEqual(first)
  expect((await authority.get(PATHS.usage, other.keys.viewer)).status).toBe(200)
})
