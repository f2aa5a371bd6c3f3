import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { ErrorResponse } from '../../src/machineid/wire.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const NONCE = 'n'.repeat(22)
const WITH_DEVICE = [PATHS.register, PATHS.validate, PATHS.revoke, PATHS.unrevoke, PATHS.remove]

describe('bad input: a clear 4xx in JSON, and nothing changes', () => {
  let authority: TestControlPlane
  let before: unknown
  beforeAll(async () => {
    authority = await startTestControlPlane({ platformToken: 'platform' })
    await authority.register(DEVICE)
    before = await state()
  })
  afterAll(async () => {
    expect(await state()).toEqual(before)
    await authority.close()
  })
  const state = async () => [
    (await authority.get(PATHS.usage, authority.keys.viewer)).body.orgEpoch,
    (await authority.get(PATHS.list, authority.keys.viewer)).body.devices,
  ]
  const refusal = async (path: string, body: unknown, headers?: Record<string, string>) => {
    const answer = await authority.post(path, body, authority.keys.full, headers)
    const error = ErrorResponse.parse(answer.body)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(error.error).toBe(error.code.toLowerCase())
    return { status: answer.status, code: error.code, message: error.message }
  }

  test.each(WITH_DEVICE)(
    '%s: a device ID that is missing, of another type or outside the grammar',
    async (path) => {
      const ids = [
        undefined,
        null,
        7,
        true,
        {},
        [DEVICE],
        '',
        ' ',
        ` ${DEVICE}`,
        `${DEVICE}\n`,
        'a/b',
        'ä',
        '🙂',
        'a'.repeat(129),
      ]
      for (const deviceId of [
        ...ids,
        'a:b:c:d:e:f:g:h:i',
        '../../etc',
        "x'; DROP TABLE devices; --",
        '\u0000',
      ]) {
        const { status, code, message } = await refusal(path, { deviceId, ifEpoch: 0 })
        expect({ status, code }).toEqual({ status: 400, code: 'DEVICE_ID_INVALID' })
        expect(message.length).toBeGreaterThan(20)
      }
    },
  )

  test.each(WITH_DEVICE)('%s: a device ID that holds a key is refused and never echoed', async (path) => {
    for (const secret of [authority.keys.runtime, 'sk-proj-abcdefghijklmnop', 'a:b:AKIAIOSFODNN7EXAMPLE']) {
      const answer = await authority.post(path, { deviceId: secret, ifEpoch: 0 }, authority.keys.full)
      expect({ status: answer.status, code: answer.body.code }).toEqual({
        status: 400,
        code: 'DEVICE_ID_INVALID',
      })
      expect(JSON.stringify(answer.body)).not.toContain(secret)
    }
  })

  test.each([
    [PATHS.validate, { deviceId: DEVICE, nonce: 'short' }, 'nonce'],
    [PATHS.validate, { deviceId: DEVICE, nonce: null }, 'nonce'],
    [PATHS.validate, { deviceId: DEVICE, nonce: 'n'.repeat(129) }, 'nonce'],
    [PATHS.validate, { deviceId: DEVICE, context: 'tool' }, 'context'],
    [PATHS.validate, { deviceId: DEVICE, context: { tool: 7 } }, 'context.tool'],
    [PATHS.validate, { deviceId: DEVICE, context: { runId: 'x'.repeat(257) } }, 'context.runId'],
    [PATHS.validateBatch, { deviceIds: [DEVICE] }, 'nonce'],
    [PATHS.validateBatch, { deviceIds: [], nonce: NONCE }, 'deviceIds'],
    [PATHS.validateBatch, { deviceIds: DEVICE, nonce: NONCE }, 'deviceIds'],
    [PATHS.validateBatch, { deviceIds: Array.from({ length: 17 }, () => DEVICE), nonce: NONCE }, 'deviceIds'],
    [PATHS.register, { deviceId: DEVICE, labels: { a: 7 } }, 'labels'],
    [PATHS.register, { deviceId: DEVICE, restoreRemoved: 'yes' }, 'restoreRemoved'],
    [PATHS.revoke, { deviceId: DEVICE, reason: 7 }, 'reason'],
    [PATHS.revoke, { deviceId: DEVICE, reason: 'x'.repeat(501) }, 'reason'],
    [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: '1' }, 'ifEpoch'],
    [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: -1 }, 'ifEpoch'],
    [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 1.5 }, 'ifEpoch'],
    [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 2 ** 60 }, 'ifEpoch'],
    [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: null }, 'ifEpoch'],
    [PATHS.orgEnable, { ifEpoch: true }, 'ifEpoch'],
    [PATHS.orgDisable, { reason: ['x'] }, 'reason'],
    [PATHS.revoke, { deviceId: DEVICE, reason: 'half \uD83D' }, 'reason'],
    [PATHS.revoke, { deviceId: DEVICE, remindAfterSeconds: 59 }, 'remindAfterSeconds'],
    [PATHS.register, { deviceId: DEVICE, labels: { '': 'x' } }, 'labels'],
    [PATHS.revokeBatch, { deviceIds: [] }, 'deviceIds'],
    [PATHS.revokeBatch, { label: { name: 'a' } }, 'label.value'],
    [PATHS.unrevokeBatch, { items: [{ deviceId: DEVICE, ifEpoch: -1 }] }, 'items[0].ifEpoch'],
    [PATHS.locks, { pattern: 'a:**:b', reason: 'x' }, 'pattern'],
    [PATHS.locks, { pattern: 'a:*' }, 'reason'],
    [PATHS.keys, { kind: 'root' }, 'kind'],
    [PATHS.keys, { kind: 'viewer', bindings: ['a:*'] }, 'bindings'],
    [PATHS.keys, { kind: 'runtime', bindings: ['a b'] }, 'bindings[0]'],
    [PATHS.orgOwners, { add: ['nobody'] }, 'add[0]'],
  ])('%s %j names the field "%s"', async (path, body, field) => {
    const { status, code, message } = await refusal(path, body)
    expect({ status, code }).toEqual({ status: 400, code: 'BAD_REQUEST' })
    expect(message).toContain(`"${field}"`)
  })

  test.each([
    [{ orgId: 'o_x' }, 'tier'],
    [{ tier: 'pro' }, 'orgId'],
    [{ orgId: 'o_x', tier: 'gold' }, 'tier'],
    [{ orgId: 'o_x', tier: 'custom' }, 'limit'],
    [{ orgId: 'o_x', tier: 'pro', limit: 7 }, 'limit'],
    [{ orgId: 'o_x', tier: 'custom', limit: -1 }, 'limit'],
    [{ orgId: 'o_x', tier: 'pro', state: 'odd' }, 'state'],
  ])('org/plan %j names "%s"', async (body, field) => {
    const answer = await authority.post(PATHS.orgPlan, body, undefined, { authorization: 'Bearer platform' })
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 400, code: 'BAD_REQUEST' })
    expect(answer.body.message).toContain(`"${field}"`)
  })

  test('org/plan for an org that does not exist', async () => {
    const answer = await authority.post(PATHS.orgPlan, { orgId: 'o_x', tier: 'pro' }, undefined, {
      authorization: 'Bearer platform',
    })
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 404, code: 'ORG_NOT_FOUND' })
  })

  test.each([
    '?limit=0',
    '?limit=x',
    '?limit=1001',
    '?limit=1.5',
    '?limit=',
    '?cursor=%00',
    '?cursor=*',
    '?cursor=YQ==',
  ])('list%s', async (query) => {
    const answer = await authority.get(`${PATHS.list}${query}`, authority.keys.viewer)
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 400, code: 'BAD_REQUEST' })
  })

  test.each([PATHS.revoke, PATHS.unrevoke, PATHS.remove])(
    '%s: a device that is not there is 404',
    async (path) => {
      expect(await refusal(path, { deviceId: 'a:b:unknown:01', ifEpoch: 0 })).toMatchObject({
        status: 404,
        code: 'DEVICE_NOT_REGISTERED',
      })
    },
  )

  test.each([
    '/',
    '/api',
    '/api/v1/devices',
    '/api/v1/devices/revoke/',
    '/api/v1/Devices/revoke',
    '/api/v2/usage',
    '/%',
    '//x',
    '/api/v1/devices/validate/',
  ])('unknown path %s', async (path) => {
    const { status, code } = await refusal(path, {})
    expect([
      [404, 'NOT_FOUND'],
      [400, 'BAD_REQUEST'],
    ]).toContainEqual([status, code])
  })

  test.each([
    ['GET', PATHS.revoke, 'POST'],
    ['PUT', PATHS.revoke, 'POST'],
    ['DELETE', PATHS.validate, 'POST, GET'],
    ['PATCH', PATHS.validateBatch, 'POST'],
    ['GET', PATHS.validateBatch, 'POST'],
    ['POST', PATHS.list, 'GET'],
    ['POST', PATHS.usage, 'GET'],
    ['OPTIONS', PATHS.register, 'POST'],
  ])('%s %s is 405 and says what it takes', async (method, path, allow) => {
    const response = await fetch(`${authority.url}${path}`, {
      method,
      headers: { 'x-org-key': authority.keys.full },
    })
    expect({ status: response.status, allow: response.headers.get('allow') }).toEqual({ status: 405, allow })
    expect(ErrorResponse.parse(await response.json()).code).toBe('METHOD_NOT_ALLOWED')
  })

  test.each([
    ['no HTTP at all', 'hello\r\n\r\n', 400],
    ['20 kB of headers', `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['a bad content length', 'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n', 400],
  ])('%s is a JSON error too', async (_, sent, status) => {
    const text = await exchange(authority.port, sent)
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(ErrorResponse.parse(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).request_id).toMatch(/-7/)
  })

  test('a Host that is not ours is refused: no page in a browser reaches this under its own name', async () => {
    const ask = (host: string) =>
      exchange(authority.port, `GET ${PATHS.usage} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)
    for (const host of ['evil.example', `evil.example:${authority.port}`, '127.0.0.1.evil.example', '']) {
      expect(await ask(host)).toMatch(/^HTTP\/1.1 403 [^]*HOST_NOT_ALLOWED/)
    }
    for (const host of ['localhost', 'LocalHost:80', `127.0.0.1:${authority.port}`, '[::1]:80']) {
      expect(await ask(host)).toMatch(/^HTTP\/1.1 401 [^]*KEY_MISSING/)
    }
  })
})

/** What the server answers to exactly these bytes, until it hangs up. */
function exchange(port: number, sent: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(sent))
    socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    socket.on('close', () => resolve(text)).on('error', reject)
  })
}
