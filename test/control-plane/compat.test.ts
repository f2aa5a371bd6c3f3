import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

// MachineID's Python SDK 0.1.6 and its starter scripts, transcribed: one org key for everything, the documented bodies
// and nothing else, no nonce, no epoch. It never looks at the status but for >= 400, and at the fields it documents.
class Sdk {
  readonly #url: string
  readonly #orgKey: string
  constructor(url: string, orgKey: string) {
    if (!orgKey.startsWith('org_')) throw new Error('org_key must start with org_')
    this.#url = url
    this.#orgKey = orgKey
  }
  async #request(method: string, path: string, deviceId?: string) {
    const response = await fetch(`${this.#url}/api/v1${path}`, {
      method,
      headers: { 'x-org-key': this.#orgKey, 'Content-Type': 'application/json' },
      ...(deviceId === undefined ? {} : { body: JSON.stringify({ deviceId: deviceId.trim() }) }),
    })
    return { httpStatus: response.status, ...((await response.json()) as Record<string, unknown>) }
  }
  register = (deviceId: string) => this.#request('POST', '/devices/register', deviceId)
  validate = (deviceId: string) => this.#request('POST', '/devices/validate', deviceId)
  validateOld = (deviceId: string) =>
    this.#request('GET', `/devices/validate?deviceId=${encodeURIComponent(deviceId)}`)
  revoke = (deviceId: string) => this.#request('POST', '/devices/revoke', deviceId)
  unrevoke = (deviceId: string) => this.#request('POST', '/devices/unrevoke', deviceId)
  remove = (deviceId: string) => this.#request('POST', '/devices/remove', deviceId)
  listDevices = () => this.#request('GET', '/devices/list')
  usage = () => this.#request('GET', '/usage')
}

describe('a MachineID client with one org key', () => {
  let authority: TestControlPlane
  let sdk: Sdk
  beforeAll(async () => {
    authority = await startTestControlPlane()
    const response = await fetch(`${authority.url}/api/v1/org/create`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{}',
    })
    const org = (await response.json()) as { status: string; orgApiKey: string; handler: string }
    expect(org).toMatchObject({ status: 'ok', handler: 'org_create' })
    sdk = new Sdk(authority.url, org.orgApiKey)
  })
  afterAll(() => authority.close())

  test('registers: ok, then exists, with the plan in every answer', async () => {
    const plan = {
      handler: 'devices/register',
      deviceId: 'agent-01',
      planTier: 'free',
      planState: 'active',
      accessUntil: null,
      limit: 3,
      devicesUsed: 1,
      remaining: 2,
      overLimit: false,
      softGraceWindow: false,
    }
    expect(await sdk.register('agent-01')).toMatchObject({ httpStatus: 200, status: 'ok', ...plan })
    expect(await sdk.register('agent-01')).toMatchObject({ httpStatus: 200, status: 'exists', ...plan })
  })

  test('validates, the new way and the old', async () => {
    for (const answer of [await sdk.validate('agent-01'), await sdk.validateOld('agent-01')]) {
      expect(answer).toMatchObject({ httpStatus: 200, allowed: true, code: 'ALLOW' })
      expect(answer).toMatchObject({
        status: expect.any(String),
        reason: 'allowed',
        handler: 'devices/validate',
      })
      expect(answer).toMatchObject({ request_id: expect.stringMatching(/^[0-9a-f-]{36}$/) })
    }
  })

  test('sees a denial as a 2xx with code and request_id', async () => {
    expect((await sdk.revoke('agent-01')).httpStatus).toBe(200)
    const denied = await sdk.validate('agent-01')
    expect(denied).toMatchObject({
      httpStatus: 200,
      allowed: false,
      code: 'DEVICE_REVOKED',
      reason: 'not_allowed',
    })
    expect(denied).toHaveProperty('request_id')
  })

  test('cannot register a revoked device back, only unrevoke it', async () => {
    expect(await sdk.register('agent-01')).toMatchObject({
      httpStatus: 403,
      error: 'device_revoked',
      limit: 3,
    })
    expect((await sdk.unrevoke('agent-01')).httpStatus).toBe(200)
    expect(await sdk.validate('agent-01')).toMatchObject({ allowed: true })
  })

  test('is blocked at the cap, and the devices that are there go on', async () => {
    await sdk.register('agent-02')
    await sdk.register('agent-03')
    expect(await sdk.register('agent-99')).toMatchObject({
      httpStatus: 403,
      status: 'blocked',
      error: 'device_limit_reached',
      handler: 'devices/register',
      limit: 3,
      devicesUsed: 3,
      remaining: 0,
      overLimit: true,
    })
    expect(await sdk.validate('agent-01')).toMatchObject({ allowed: true })
    expect(await sdk.validate('agent-99')).toMatchObject({ allowed: false, code: 'DEVICE_NOT_REGISTERED' })
  })

  test('lists all active and revoked devices at once', async () => {
    await sdk.revoke('agent-02')
    const { devices } = (await sdk.listDevices()) as unknown as {
      devices: { deviceId: string; revoked: boolean }[]
    }
    expect(devices.map(({ deviceId, revoked }) => [deviceId, revoked])).toEqual([
      ['agent-01', false],
      ['agent-02', true],
      ['agent-03', false],
    ])
  })

  test('removes a device, which frees its place', async () => {
    expect((await sdk.remove('agent-03')).httpStatus).toBe(200)
    expect(await sdk.usage()).toMatchObject({
      planTier: 'free',
      planState: 'active',
      limit: 3,
      devicesUsed: 2,
    })
    expect(await sdk.register('agent-04')).toMatchObject({ status: 'ok' })
  })

  test('gets an `error` with every status >= 400', async () => {
    for (const answer of [
      await sdk.revoke('nobody'),
      await sdk.validate('no way'),
      await new Sdk(authority.url, 'org_wrong').usage(),
    ]) {
      expect(answer.httpStatus).toBeGreaterThanOrEqual(400)
      expect(answer).toMatchObject({ error: expect.any(String), code: expect.any(String) })
    }
  })
})
