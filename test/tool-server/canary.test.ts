// The canary: a guarded call that does nothing but wait, for drills (POST /canary/:surface).

import { afterAll, beforeAll, expect, test } from 'vitest'
import { PATHS } from '../../src/machineid/paths.ts'
import { CanaryResponse } from '../../src/tool-server-wire.ts'
import { scriptedServer } from './scripted.ts'
import { EMAIL, PAYMENTS, SERVER, startTestToolServer, type TestToolServer } from './start.ts'

const CANARY = 'openai-agent:test:canary:01'

let server: TestToolServer
beforeAll(async () => {
  server = await startTestToolServer({ tools: () => [] })
  await server.authority.register(CANARY)
})
afterAll(() => server.close())

/** What the authority was asked for a canary, as the log says it. */
const asked = () =>
  server.lines
    .filter(({ tool }) => tool === 'holdpoint_canary')
    .flatMap(({ boundary, device_ids }) => (boundary === undefined ? [] : [[boundary, device_ids]]))

/** How many bodies have started at this boundary: each is logged in the tick that starts it. */
const startedIn = (lines: readonly Record<string, unknown>[], at: string) =>
  lines.filter(({ boundary, allowed, tool }) => boundary === at && allowed === true && tool !== undefined)
    .length

const canary = async (surface: string, body: object) => {
  server.lines.length = 0
  return server.post(`/canary/${surface}`, body)
}

test('passes both hold points, asked for server, surface and canary, and waits at the second', async () => {
  const { status, body } = await canary('payments', { canaryDeviceId: CANARY, holdMs: 20 })
  expect(status).toBe(200)
  expect(CanaryResponse.parse(body)).toMatchObject({
    started: true,
    endedBy: 'time',
    code: 'ALLOW',
    boundary: 'side_effect',
    deviceId: SERVER,
  })
  expect(body.startedAgoMs).toBeGreaterThanOrEqual(19)
  const devices = [SERVER, PAYMENTS, CANARY]
  expect(asked()).toEqual([
    ['tool', devices],
    ['side_effect', devices],
  ])
  const line = server.lines.find(({ boundary }) => boundary === 'side_effect')
  expect(body.requestId).toBe(line?.['request_id'])
})

test('at the boundary tool it waits in the body, and asks once', async () => {
  const { body } = await canary('email', { boundary: 'tool', holdMs: 0 })
  expect(body).toMatchObject({ started: true, endedBy: 'time', boundary: 'tool' })
  expect(asked()).toEqual([['tool', [SERVER, EMAIL]]])
})

test('on a surface of the server device only that and the canary are asked about', async () => {
  await canary('records', { canaryDeviceId: CANARY, boundary: 'tool', holdMs: 0 })
  expect(asked()).toEqual([['tool', [SERVER, CANARY]]])
})

test('denied: it does not start, and says for which device and why', async () => {
  await server.authority.revoke(CANARY)
  const { status, body } = await canary('payments', { canaryDeviceId: CANARY, holdMs: 20 })
  expect([status, body]).toEqual([
    200,
    {
      replica: server.guard.stopStream?.replica,
      started: false,
      startedAgoMs: null,
      endedBy: null,
      code: 'DEVICE_REVOKED',
      boundary: 'tool',
      deviceId: CANARY,
      requestId: expect.any(String),
    },
  ])
  await server.authority.restore(CANARY)
})

test('stopped between its hold points: it does not start, and says so for side_effect', async () => {
  const { authority, post } = await scriptedServer()
  authority.beforeAnswer = ({ boundary }) => (boundary === 'side_effect' ? authority.stop(CANARY) : undefined)
  const { body } = await post('/canary/payments', { canaryDeviceId: CANARY, holdMs: 0 })
  expect(body).toMatchObject({
    started: false,
    startedAgoMs: null,
    code: 'DEVICE_REVOKED',
    boundary: 'side_effect',
    deviceId: CANARY,
  })
})

test.each(['tool', 'side_effect'])(
  'a pushed stop of the canary ends one that waits at %s, and is told aborted',
  async (boundary) => {
    const { authority, lines, post } = await scriptedServer()
    const waiting = post('/canary/payments', { canaryDeviceId: CANARY, boundary, holdMs: 30_000 })
    await expect.poll(() => startedIn(lines, boundary)).toBe(1)
    const epoch = authority.stopNow(CANARY)
    expect((await waiting).body).toMatchObject({ started: true, endedBy: 'stop', code: 'ALLOW', boundary })
    await expect
      .poll(() => authority.stream?.told)
      .toEqual([`received ${epoch}: 1 running`, `settled ${epoch}: aborted`])
  },
)

test('through the stream of a real control plane: a revoke of the canary ends it, and surfaces go on', async () => {
  await using own = await startTestToolServer({ tools: () => [], canaryDeviceId: CANARY })
  await own.authority.register(CANARY)
  await expect.poll(() => own.guard.stopStream?.up, { timeout: 5000 }).toBe(true)
  const waiting = own.post('/canary/payments', { canaryDeviceId: CANARY, holdMs: 20_000 })
  const other = own.post('/canary/payments', { holdMs: 600 })
  await expect.poll(() => startedIn(own.lines, 'side_effect')).toBe(2)
  const epoch = await own.authority.revoke(CANARY)
  expect((await waiting).body).toMatchObject({ started: true, endedBy: 'stop' })
  expect((await other).body).toMatchObject({ started: true, endedBy: 'time' })
  const { viewer } = own.authority.keys
  await expect
    .poll(
      async () => (await own.authority.get(`${PATHS.stopHistory}?epoch=${epoch}`, viewer)).body.stops?.[0],
      {
        timeout: 5000,
      },
    )
    .toMatchObject({ state: 'confirmed', replicas: [{ state: 'confirmed', aborted: 1, running: 0 }] })
})

test('a key that may not ask for the canary has its stream all the same, and only canaries are denied', async () => {
  await using own = await startTestToolServer({
    tools: () => [],
    canaryDeviceId: CANARY,
    bindings: [SERVER, PAYMENTS, EMAIL],
  })
  await own.authority.register(CANARY)
  await expect
    .poll(() => own.guard.stopStream, { timeout: 5000 })
    .toMatchObject({ up: true, keyKind: 'runtime' })
  const { body } = await own.post('/canary/payments', { canaryDeviceId: CANARY, holdMs: 0 })
  expect(body).toMatchObject({ started: false, code: expect.stringMatching(/^AUTHORITY_/) })
  expect((await own.post('/canary/payments', { holdMs: 0 })).body).toMatchObject({ started: true })
  const waiting = own.post('/canary/payments', { holdMs: 20_000 })
  await expect.poll(() => startedIn(own.lines, 'side_effect')).toBe(2)
  await own.authority.revoke(PAYMENTS)
  expect((await waiting).body).toMatchObject({ started: true, endedBy: 'stop' })
})

test('its effect is in the journal as done, and nothing of it is unknown', async () => {
  await canary('payments', { holdMs: 0 })
  expect(server.lines.find(({ msg }) => msg === 'effect ended')).toMatchObject({
    effect: 'holdpoint_canary',
    state: 'done',
  })
  expect(await server.store.journal.listUnknown()).toEqual([])
})

test('it is in flight while it waits, on each of its devices', async () => {
  const waiting = canary('payments', { holdMs: 300 })
  const inFlight = (deviceId: string) =>
    server.guard.presence().devices.find((one) => one.deviceId === deviceId)?.inFlight
  await expect.poll(() => [inFlight(SERVER), inFlight(PAYMENTS), inFlight(EMAIL)]).toEqual([1, 1, 0])
  await waiting
  expect(inFlight(SERVER)).toBe(0)
})

test('a shutdown ends it', async () => {
  await using own = await startTestToolServer({ tools: () => [] })
  const waiting = own.post('/canary/payments', { holdMs: 30_000 })
  await expect.poll(() => startedIn(own.lines, 'side_effect')).toBe(1)
  await own.guard.close({ graceMs: 2000 })
  expect((await waiting).body).toMatchObject({ started: true, endedBy: 'stop', code: 'ALLOW' })
})

test.each([
  ['another device than a canary', { canaryDeviceId: PAYMENTS, holdMs: 0 }, 'canaryDeviceId'],
  ['what is no device ID', { canaryDeviceId: 'a:b:canary:x y', holdMs: 0 }, 'canaryDeviceId'],
  ['no time to hold', {}, 'holdMs'],
  ['a time that is too long', { holdMs: 30_001 }, 'holdMs'],
  ['another boundary', { holdMs: 0, boundary: 'resume' }, 'boundary'],
  ['an unknown field', { holdMs: 0, allowed: true }, 'allowed'],
])('%s is refused, and nothing is asked', async (_what, body, about) => {
  const answer = await canary('payments', body)
  expect([answer.status, answer.body.code]).toEqual([400, 'BAD_REQUEST'])
  expect(JSON.stringify(answer.body.issues)).toContain(about)
  expect(asked()).toEqual([])
})

test('an unknown surface is 404, and names those there are', async () => {
  const { status, body } = await canary('savings', { holdMs: 0 })
  expect([status, body.code]).toEqual([404, 'SURFACE_NOT_FOUND'])
  expect(body.message).toContain('payments')
})

test('it is no tool: neither listed nor callable as one', async () => {
  expect(JSON.stringify((await server.get('/tools')).body)).not.toContain('canary')
  expect((await server.call('holdpoint_canary', { arguments: {} })).status).toBe(404)
})

test('at most 256 wait at once', async () => {
  await using own = await startTestToolServer({ tools: () => [] })
  const held = Array.from({ length: 256 }, () =>
    own.post('/canary/payments', { boundary: 'tool', holdMs: 30_000 }),
  )
  await expect.poll(() => own.guard.inFlight, { timeout: 10_000 }).toBe(256)
  expect(await own.post('/canary/payments', { holdMs: 0 })).toMatchObject({
    status: 503,
    body: { code: 'CANARY_OVERLOADED' },
  })
  await own.guard.close({ graceMs: 2000 })
  expect((await Promise.all(held)).every(({ body }) => body.endedBy === 'stop')).toBe(true)
})

test('a caller that hangs up ends it', async () => {
  const giveUp = new AbortController()
  const { token } = server
  const gone = fetch(`${server.url}/canary/payments`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ holdMs: 30_000 }),
    signal: giveUp.signal,
  }).catch(() => 'gone')
  await expect.poll(() => server.guard.inFlight).toBe(1)
  giveUp.abort()
  expect(await gone).toBe('gone')
  await expect.poll(() => server.guard.inFlight).toBe(0)
})
