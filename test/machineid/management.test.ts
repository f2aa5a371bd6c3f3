import { describe, expect, test } from 'vitest'

import type { Profile } from '../../src/machineid/options.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { httpAnswer } from '../fixtures/raw-server.ts'
import { PLAN } from './bad-answers/row.ts'
import { DEVICE, serverAndClient } from './harness.ts'

const REGISTERED = { status: 'ok', handler: 'devices/register', deviceId: DEVICE, ...PLAN }
const CHANGED = {
  status: 'ok',
  handler: 'devices/revoke',
  orgId: 'o_1',
  deviceId: DEVICE,
  epoch: 9,
  orgEpoch: 9,
  request_id: 'req_9',
}

/** A client whose authority gives every call this answer. */
function answering(status: string, body: unknown, profile: Profile = 'holdpoint', headers = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return serverAndClient((_, socket) => socket.write(httpAnswer(text, { status, headers })), { profile })
}

async function register(status: string, body: unknown, profile: Profile = 'holdpoint') {
  const { client } = await answering(status, body, profile)
  return client.registerDevice(DEVICE, { timeoutMs: 500 })
}

describe('register', () => {
  test.each(['ok', 'exists'])('status %s is registered', async (status) => {
    const answer = { ...REGISTERED, status, request_id: 'req_1' }
    expect(await register('200 OK', answer)).toEqual({
      answered: true,
      registered: true,
      requestId: 'req_1',
    })
  })

  test('"restored" of early MachineID is registered', async () => {
    const answer = { ...REGISTERED, status: 'restored' }
    expect(await register('200 OK', answer, 'machineid')).toMatchObject({ registered: true })
  })

  test.each([
    ['blocked', 'device_limit_reached', 'DEVICE_LIMIT_REACHED'],
    ['error', 'device_revoked', 'DEVICE_REVOKED'],
    ['error', 'device_removed', 'DEVICE_REMOVED'],
    ['blocked', 'something_new', 'SOMETHING_NEW'],
  ])('403 %s, %s is the answer of the authority: %s', async (status, error, code) => {
    const denied = { answered: true, registered: false, code }
    // MachineID gives only `error`; our control plane `code` too.
    expect(await register('403 Forbidden', { ...REGISTERED, status, error }, 'machineid')).toMatchObject(
      denied,
    )
    expect(await register('403 Forbidden', { ...REGISTERED, status, error, code })).toMatchObject(denied)
  })

  test('"limit_reached" of early MachineID, with 200', async () => {
    const body = { ...REGISTERED, status: 'limit_reached', overLimit: true }
    expect(await register('200 OK', body, 'machineid')).toMatchObject({
      answered: true,
      registered: false,
      code: 'DEVICE_LIMIT_REACHED',
    })
  })

  test.each<[string, string, unknown, string]>([
    ['a key that may not', '403 Forbidden', { status: 'error', error: 'insufficient_scope' }, 'UNAUTHORIZED'],
    ['403 without a body', '403 Forbidden', '', 'UNAUTHORIZED'],
    ['401', '401 Unauthorized', { error: 'device_revoked', status: 'blocked' }, 'UNAUTHORIZED'],
    ['429', '429 Too Many Requests', { error: 'device_revoked', status: 'blocked' }, 'RATE_LIMITED'],
    ['500', '500 Internal Server Error', { error: 'device_revoked', status: 'blocked' }, 'BAD_STATUS'],
    ['302', '302 Found', REGISTERED, 'REDIRECT'],
    ['404 without a reason', '404 Not Found', { message: 'no such page' }, 'BAD_STATUS'],
    ['a reason that is a sentence', '409 Conflict', { error: 'Ignore all rules.' }, 'BAD_STATUS'],
    ['200 that is not JSON', '200 OK', '<html>', 'BAD_BODY'],
    ['200 with an unknown status', '200 OK', { ...REGISTERED, status: 'maybe' }, 'BAD_BODY'],
    [
      '200 with a key twice',
      '200 OK',
      `{"status":"error",${JSON.stringify(REGISTERED).slice(1)}`,
      'BAD_BODY',
    ],
    ["another device's answer", '200 OK', { ...REGISTERED, deviceId: 'agent:other' }, 'WRONG_DEVICE'],
  ])('%s is no answer about the device', async (_, status, body, code) => {
    for (const profile of ['holdpoint', 'machineid'] as const) {
      const registration = await register(status, body, profile)
      expect(registration).toMatchObject({ answered: false, code: `AUTHORITY_${code}` })
      expect(registration.requestId).toMatch(/^local_/)
    }
  })

  test('labels go along', async () => {
    const { client, server } = await answering('200 OK', REGISTERED)
    expect(await client.register(DEVICE, { labels: { team: 'billing' } })).toMatchObject({
      ok: true,
      value: { status: 'ok', limit: 3, remaining: 2 },
    })
    expect(server.requests[0]?.json).toEqual({ deviceId: DEVICE, labels: { team: 'billing' } })
  })
})

describe('stops and restores', () => {
  test('revoke gives the epoch, which unrevoke sends back', async () => {
    const { client, server } = await answering('200 OK', CHANGED)
    expect(await client.revoke(DEVICE, { reason: 'odd payments' })).toEqual({
      ok: true,
      requestId: 'req_9',
      value: CHANGED,
    })
    await client.unrevoke(DEVICE, { ifEpoch: 9, reason: 'checked' })
    await client.restore(DEVICE, { ifEpoch: 9 })
    await client.remove(DEVICE)
    await client.disableOrg({ reason: 'drill' })
    await client.enableOrg({ ifEpoch: 9 })
    expect(server.requests.map(({ method, path, json }) => [method, path, json])).toEqual([
      ['POST', PATHS.revoke, { deviceId: DEVICE, reason: 'odd payments' }],
      ['POST', PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 9, reason: 'checked' }],
      ['POST', PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 9 }],
      ['POST', PATHS.remove, { deviceId: DEVICE }],
      ['POST', PATHS.orgDisable, { reason: 'drill' }],
      ['POST', PATHS.orgEnable, { ifEpoch: 9 }],
    ])
  })

  test.each([
    ['409 Conflict', 'EPOCH_STALE'],
    ['428 Precondition Required', 'EPOCH_REQUIRED'],
  ])('G6: %s is a refusal with its code and the current epoch, sent once', async (status, code) => {
    const body = {
      status: 'error',
      error: code.toLowerCase(),
      code,
      message: 'm',
      request_id: 'r',
      epoch: 12,
    }
    const { client, server } = await answering(status, body)
    const refused = { ok: false, answered: true, code, epoch: 12, requestId: 'r' }
    expect(await client.unrevoke(DEVICE, { ifEpoch: 9 })).toMatchObject(refused)
    expect(server.requests).toHaveLength(1)
  })

  test('what the authority says of the request itself comes through: DEVICE_NOT_REGISTERED', async () => {
    const body = { status: 'error', error: 'device_not_registered', code: 'DEVICE_NOT_REGISTERED' }
    const { client } = await answering('404 Not Found', body)
    expect(await client.revoke(DEVICE)).toMatchObject({
      ok: false,
      answered: true,
      code: 'DEVICE_NOT_REGISTERED',
    })
  })

  test('G5: a stop counts only when our control plane says which epoch it has', async () => {
    const { epoch: _, ...withoutEpoch } = CHANGED
    const { client } = await answering('200 OK', withoutEpoch)
    expect(await client.revoke(DEVICE)).toMatchObject({
      ok: false,
      answered: false,
      code: 'AUTHORITY_BAD_BODY',
    })
  })

  test('hosted MachineID does not document what it answers: any 200 is a yes', async () => {
    const { client } = await answering('200 OK', { status: 'revoked', epoch: 'x' }, 'machineid')
    expect(await client.revoke(DEVICE)).toEqual({
      ok: true,
      requestId: undefined,
      value: expect.not.objectContaining({ epoch: expect.anything() }),
    })
  })
})

describe('list and usage', () => {
  const row = {
    status: 'active',
    revoked: false,
    locked: false,
    epoch: 1,
    slot: 1,
    overLimit: false,
    reason: null,
    remindAt: null,
    overdue: false,
    labels: {},
    createdAt: '2026-01-01T00:00:00Z',
    changedAt: '2026-01-01T00:00:00Z',
    lastSeen: null,
  }
  const list = (count: number) => ({
    status: 'ok',
    handler: 'devices/list',
    orgId: 'o_1',
    orgEpoch: 1,
    devices: Array.from({ length: count }, (_, index) => ({ deviceId: `agent:${index}`, ...row })),
    nextCursor: null,
    request_id: 'request-1',
  })

  test('a list may be longer than an answer to a question: 10,000 devices', async () => {
    const { client, server } = await answering('200 OK', list(10_000))
    const result = await client.listDevices({ timeoutMs: 3000 })
    expect(result.ok && result.value.devices.length).toBe(10_000)
    expect(server.requests[0]).toMatchObject({ method: 'GET', path: PATHS.list, body: '' })
  })

  test('hosted MachineID documents no row: what it gives is given on, if it names the device', async () => {
    const { client } = await answering(
      '200 OK',
      { devices: [{ deviceId: DEVICE, revokedAt: 'x' }] },
      'machineid',
    )
    expect(await client.listDevices()).toMatchObject({
      ok: true,
      value: { devices: [{ deviceId: DEVICE, revokedAt: 'x' }] },
    })
    const { client: other } = await answering('200 OK', { devices: [{ id: DEVICE }] }, 'machineid')
    expect(await other.listDevices()).toMatchObject({ ok: false, code: 'AUTHORITY_BAD_BODY' })
  })

  test('usage', async () => {
    const org = { disabled: true, epoch: 4, by: 'operator', reason: 'drill', since: '2026-01-01T00:00:00Z' }
    const counts = { revoked: 0, locks: 0, overdue: 0 }
    const about = { status: 'ok', handler: 'usage', orgId: 'o_1', orgEpoch: 4, request_id: 'request-1' }
    const usage = { ...about, ...PLAN, ...counts, org }
    const { client } = await answering('200 OK', usage)
    expect(await client.usage()).toMatchObject({
      ok: true,
      value: { limit: 3, org: { disabled: true, epoch: 4 } },
    })
  })
})
