import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { ErrorResponse, KEY_KINDS, OrgCreateResponse, PATHS, type KeyKind } from '../../src/machineid/wire.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const NONCE = 'n'.repeat(22)

type Call = readonly [
  name: string,
  method: 'GET' | 'POST',
  path: string,
  body: unknown,
  kinds: readonly KeyKind[],
]

const READERS = ['viewer', 'stop', 'operator', 'admin', 'full'] as const
const STOPPERS = ['stop', 'operator', 'admin', 'full'] as const
const OPERATORS = ['operator', 'admin', 'full'] as const

/** Who may do what. What is not listed is refused. */
const CALLS: readonly Call[] = [
  ['register', 'POST', PATHS.register, { deviceId: DEVICE }, ['runtime', ...OPERATORS]],
  ['validate', 'POST', PATHS.validate, { deviceId: DEVICE }, ['runtime', 'full']],
  ['validate by GET', 'GET', `${PATHS.validate}?deviceId=${DEVICE}`, undefined, ['runtime', 'full']],
  ['validate_batch', 'POST', PATHS.validateBatch, { deviceIds: [DEVICE], nonce: NONCE }, ['runtime', 'full']],
  ['list', 'GET', PATHS.list, undefined, READERS],
  ['usage', 'GET', PATHS.usage, undefined, READERS],
  ['revoke', 'POST', PATHS.revoke, { deviceId: DEVICE }, STOPPERS],
  ['unrevoke', 'POST', PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 0 }, OPERATORS],
  ['remove', 'POST', PATHS.remove, { deviceId: DEVICE }, OPERATORS],
  [
    'restore a removed one',
    'POST',
    PATHS.register,
    { deviceId: DEVICE, restoreRemoved: true, ifEpoch: 0 },
    OPERATORS,
  ],
  ['disable the org', 'POST', PATHS.orgDisable, {}, STOPPERS],
  ['enable the org', 'POST', PATHS.orgEnable, { ifEpoch: 0 }, ['admin', 'full']],
  ['set the plan', 'POST', PATHS.orgPlan, { orgId: 'o_x', tier: 'max' }, []],
]

describe('who may do what', () => {
  let authority: TestControlPlane
  let other: TestControlPlane
  beforeAll(async () => {
    authority = await startTestControlPlane({ platformToken: 'platform-token' })
    other = await startTestControlPlane()
    await authority.register(DEVICE)
  })
  afterAll(async () => {
    await authority.close()
    await other.close()
  })
  const send = ([, method, path, body]: Call, key?: string, headers?: Record<string, string>) =>
    method === 'GET' ? authority.get(path, key, headers) : authority.post(path, body, key, headers)
  const state = async () => [
    (await authority.get(PATHS.usage, authority.keys.viewer)).body.orgEpoch,
    (await authority.get(PATHS.list, authority.keys.viewer)).body.devices,
  ]

  const cases = CALLS.flatMap((call) => KEY_KINDS.map((kind) => [call[0], kind, call] as const))
  const refused = cases.filter(([, kind, call]) => !call[4].includes(kind) && call[4].length > 0)
  const allowed = cases.filter(([, kind, call]) => call[4].includes(kind))

  test.each(refused)('%s: a %s key may not, and nothing changes', async (_, kind, call) => {
    const before = await state()
    const { status, body } = await send(call, authority.keys[kind])
    expect({ status, code: body.code }).toEqual({ status: 403, code: 'INSUFFICIENT_SCOPE' })
    expect(ErrorResponse.parse(body)).toMatchObject({ status: 'error', error: 'insufficient_scope' })
    expect(await state()).toEqual(before)
  })

  test.each(allowed)('%s: a %s key may', async (_, kind, call) => {
    // A stale epoch is an answer to someone who may ask.
    const { status, body } = await send(call, authority.keys[kind])
    expect([200, 403, 409]).toContain(status)
    expect(body.code).not.toBe('INSUFFICIENT_SCOPE')
  })

  test.each(CALLS)('%s: without a key, or with one that is not known here, 401', async (...call) => {
    const before = await state()
    const [full] = [authority.keys.full]
    const keys = [
      undefined,
      '',
      'org_nonsense',
      other.keys.full,
      `${full.slice(0, -1)}${full.endsWith('0') ? 1 : 0}`,
    ]
    for (const key of keys) {
      const { status, body } = await send(call, key)
      expect(status).toBe(401)
      expect(ErrorResponse.parse(body).code).toMatch(/^(?:KEY_MISSING|KEY_INVALID|PLATFORM_TOKEN_INVALID)$/)
      if (key) expect(JSON.stringify(body)).not.toContain(key)
    }
    expect(await state()).toEqual(before)
  })

  test.each(KEY_KINDS)('a %s key sets no plan: that takes the platform token', async (kind) => {
    const { status, body } = await authority.post(
      PATHS.orgPlan,
      { orgId: authority.orgId, tier: 'max' },
      authority.keys[kind],
    )
    expect({ status, code: body.code }).toEqual({ status: 401, code: 'PLATFORM_TOKEN_INVALID' })
  })

  test('the key is judged before the body, so that a stranger learns nothing from his mistakes', async () => {
    for (const path of [PATHS.validate, PATHS.validateBatch, PATHS.revoke, PATHS.register]) {
      expect((await authority.post(path, { deviceId: 7 }, other.keys.full)).status).toBe(401)
      expect((await authority.post(path, { deviceId: 7 }, authority.keys.viewer)).status).toBe(403)
    }
  })
})

describe('a bound runtime key', () => {
  test('asks and registers for its own devices only, and gets no decision about others', async () => {
    await using authority = await startTestControlPlane({ bindings: ['a:test:*', 'b:test:exact:01'] })
    const key = authority.keys.runtime
    const validate = (deviceId: string) => authority.post(PATHS.validate, { deviceId }, key)
    const batch = (...deviceIds: string[]) =>
      authority.post(PATHS.validateBatch, { deviceIds, nonce: NONCE }, key)
    for (const own of ['a:test:payments:01', 'a:test:x', 'b:test:exact:01']) {
      expect((await authority.post(PATHS.register, { deviceId: own }, key)).status).toBe(200)
      expect((await validate(own)).body).toMatchObject({ allowed: true, code: 'ALLOW' })
    }
    await authority.register('b:test:exact:02')
    const answers = [
      await validate('b:test:exact:02'),
      await authority.get(`${PATHS.validate}?deviceId=b:test:exact:02`, key),
      await batch('a:test:x', 'b:test:exact:02'),
      await authority.post(PATHS.register, { deviceId: 'b:test:exact:03' }, key),
    ]
    for (const { status, body } of answers) {
      expect({ status, code: body.code }).toEqual({ status: 403, code: 'KEY_NOT_BOUND_TO_DEVICE' })
      expect(body).not.toHaveProperty('allowed')
      expect(body).not.toHaveProperty('decisions')
    }
    expect((await batch('a:test:x', 'b:test:exact:01')).status).toBe(200)
  })

  test('is bound when it is issued: nonsense, no devices at all, and other kinds are refused', async () => {
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

describe('creating an org', () => {
  const EVIL = { authorization: 'Bearer wrong' }

  test('is open on loopback while no platform token is set, and answers as MachineID does', async () => {
    await using authority = await startTestControlPlane()
    const { status, body } = await authority.post(PATHS.orgCreate, {})
    expect(status).toBe(200)
    expect(OrgCreateResponse.parse(body)).toMatchObject({ status: 'ok', handler: 'org_create' })
    expect(body.orgApiKey).toMatch(/^org_full_/)
    expect(body.orgId).toMatch(/^o_/)
    expect(body).not.toHaveProperty('keys')
    expect((await authority.get(PATHS.usage, body.orgApiKey)).body).toMatchObject({
      planTier: 'free',
      limit: 3,
    })
  })

  test('gives a key of each kind that is asked for', async () => {
    await using authority = await startTestControlPlane()
    const { body } = await authority.post(PATHS.orgCreate, {
      email: 'a@example.com',
      kinds: ['runtime', 'stop'],
    })
    expect(Object.keys(OrgCreateResponse.parse(body).keys ?? {})).toEqual(['runtime', 'stop'])
    expect((await authority.get(PATHS.usage, body.keys.stop)).body.orgId).toBe(body.orgId)
    expect((await authority.get(PATHS.usage, body.keys.runtime)).status).toBe(403)
  })

  test('takes the platform token once there is one', async () => {
    await using authority = await startTestControlPlane({ platformToken: 'right' })
    for (const headers of [{}, EVIL, { authorization: 'right' }]) {
      const { status, body } = await authority.post(PATHS.orgCreate, {}, undefined, headers)
      expect({ status, code: body.code }).toEqual({ status: 401, code: 'PLATFORM_TOKEN_INVALID' })
    }
    expect(
      (await authority.post(PATHS.orgCreate, {}, undefined, { authorization: 'Bearer right' })).status,
    ).toBe(200)
  })

  test('is not open to web pages, which can post to loopback from any browser here', async () => {
    await using authority = await startTestControlPlane()
    for (const origin of ['https://evil.example', 'null', authority.url]) {
      const { status, body } = await authority.post(PATHS.orgCreate, undefined, undefined, { origin })
      expect({ status, code: body.code }).toEqual({ status: 403, code: 'ORIGIN_NOT_ALLOWED' })
    }
    expect((await authority.post(PATHS.orgCreate, undefined)).status).toBe(200)
    expect(await authority.service.countOrgs()).toBe(2)
  })

  test('is closed off loopback while no platform token is set', async () => {
    await using authority = await startTestControlPlane({ loopback: false })
    const { status, body } = await authority.post(PATHS.orgCreate, {})
    expect({ status, code: body.code }).toEqual({ status: 403, code: 'PLATFORM_TOKEN_NOT_CONFIGURED' })
  })
})

describe('the service, for the first start', () => {
  test('knows a genuine key and its org, and no other text', async () => {
    await using authority = await startTestControlPlane()
    const { service, keys, orgId } = authority
    expect(await service.countOrgs()).toBe(1)
    expect(await service.findKey(keys.operator)).toMatchObject({ orgId, kind: 'operator', bindings: null })
    expect(await service.findKey(keys.operator.slice(0, -1))).toBeUndefined()
    expect(await service.findKey('')).toBeUndefined()
  })
})
