import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { ValidateBatchRequest, ValidateRequest } from '../../src/machineid/wire-devices.ts'
import { httpAnswer, startRawServer } from '../fixtures/raw-server.ts'
import { ManualClock } from '../fixtures/scripted-authority.ts'
import { allow, ask, codeOf, DEVICE, noncesOf, serverAndClient } from './harness.ts'

const SERVER_DEVICE = 'openai-agent:prod:tool-server:01'
const BOTH = { deviceIds: [SERVER_DEVICE, DEVICE] }
const denial = (fields: object) => httpAnswer(JSON.stringify({ allowed: false, ...fields }))

describe('profile holdpoint', () => {
  test('one request for all devices, as wire.ts describes it', async () => {
    const { client, server } = await serverAndClient((request, socket) => socket.write(allow(request)), {
      replica: 'tool-server-7',
    })
    const answer = await ask(client, {
      ...BOTH,
      boundary: 'side_effect',
      tool: 'send_payment',
      callId: 'call_1',
    })
    expect(answer).toMatchObject({
      answered: true,
      orgId: 'o_bad_answers',
      orgEpoch: 7,
      decisions: [
        { deviceId: SERVER_DEVICE, allowed: true, epoch: 3 },
        { deviceId: DEVICE, allowed: true, epoch: 3 },
      ],
    })
    expect(server.requests).toHaveLength(1)
    const [request] = server.requests
    expect(request).toMatchObject({ method: 'POST', path: PATHS.validateBatch })
    expect(request?.headers).toMatchObject({
      'content-type': 'application/json',
      'accept-encoding': 'identity',
    })
    expect(ValidateBatchRequest.strict().parse(request?.json)).toMatchObject({
      ...BOTH,
      context: {
        boundary: 'side_effect',
        tool: 'send_payment',
        callId: 'call_1',
        replica: 'tool-server-7',
      },
    })
  })

  test('every question has its own nonce', async () => {
    const { client, server } = await serverAndClient((request, socket) => socket.write(allow(request)))
    for (let count = 0; count < 20; count++) await ask(client)
    expect(new Set(noncesOf(server)).size).toBe(20)
  })

  test('connections are used again', async () => {
    const { client, server } = await serverAndClient((request, socket) => socket.write(allow(request)))
    for (let count = 0; count < 20; count++) await ask(client)
    expect(server.connectionCount).toBeLessThanOrEqual(2)
  })

  test('a call ID that is too long for the record is cut, not refused', async () => {
    const { client, server } = await serverAndClient((request, socket) => socket.write(allow(request)))
    expect(codeOf(await ask(client, { callId: 'x'.repeat(10_000) }))).toBe('ALLOW')
    expect(ValidateBatchRequest.safeParse(server.requests[0]?.json).success).toBe(true)
  })

  test('decisions in another order are AUTHORITY_WRONG_DEVICE', async () => {
    const { client } = await serverAndClient((request, socket) => {
      const { deviceIds } = request.json as { deviceIds: string[] }
      const decisions = deviceIds
        .toReversed()
        .map((deviceId) => ({ deviceId, allowed: true, code: 'ALLOW', epoch: 1 }))
      socket.write(allow(request, { decisions }))
    })
    expect(codeOf(await ask(client, BOTH))).toBe('AUTHORITY_WRONG_DEVICE')
  })

  test.each([
    ['one is missing', (all: unknown[]) => all.slice(1)],
    ['one is there twice', (all: unknown[]) => [...all, all[0]]],
  ])('decisions of which %s are AUTHORITY_WRONG_DEVICE', async (_, spoil) => {
    const { client } = await serverAndClient((request, socket) => {
      const { deviceIds } = request.json as { deviceIds: string[] }
      const all = deviceIds.map((deviceId) => ({ deviceId, allowed: true, code: 'ALLOW', epoch: 1 }))
      socket.write(allow(request, { decisions: spoil(all) }))
    })
    expect(codeOf(await ask(client, BOTH))).toBe('AUTHORITY_WRONG_DEVICE')
  })

  test('one device denied, the other allowed: both decisions are given, with their epochs', async () => {
    const decisions = [
      { deviceId: SERVER_DEVICE, allowed: true, code: 'ALLOW', epoch: 1 },
      { deviceId: DEVICE, allowed: false, code: 'DEVICE_LOCKED', epoch: 6 },
    ]
    const { client } = await serverAndClient((request, socket) => socket.write(allow(request, { decisions })))
    expect(await ask(client, BOTH)).toMatchObject({
      answered: true,
      decisions: [
        { deviceId: SERVER_DEVICE, allowed: true, epoch: 1 },
        { deviceId: DEVICE, allowed: false, code: 'DEVICE_LOCKED', epoch: 6 },
      ],
    })
  })

  test('validate gives the decision, the org, both epochs and how long it took', async () => {
    const clock = new ManualClock()
    const { client } = await serverAndClient(
      (request, socket) => {
        clock.advance(12)
        socket.write(allow(request))
      },
      { clock },
    )
    expect(await client.validate(DEVICE)).toEqual({
      allowed: true,
      code: 'ALLOW',
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      deviceId: DEVICE,
      orgId: 'o_bad_answers',
      epoch: 3,
      orgEpoch: 7,
      latencyMs: 12,
    })
  })

  test('never downgraded: an authority that knows no validate_batch is a denial, and nothing else is tried', async () => {
    const { client, server } = await serverAndClient((request, socket) =>
      socket.write(
        request.path === PATHS.validateBatch
          ? httpAnswer('{}', { status: '404 Not Found' })
          : allow(request, {}, 'machineid'),
      ),
    )
    expect(codeOf(await ask(client))).toBe('AUTHORITY_BAD_STATUS')
    expect(codeOf(await ask(client))).toBe('AUTHORITY_BAD_STATUS')
    expect(server.requests.map(({ path }) => path)).toEqual([PATHS.validateBatch, PATHS.validateBatch])
  })
})

describe('profile machineid', () => {
  test('one request per device, each on its own connection, exactly as documented', async () => {
    const { client, server } = await serverAndClient(
      (request, socket) => socket.write(allow(request, {}, 'machineid')),
      { profile: 'machineid' },
    )
    expect(codeOf(await ask(client, BOTH))).toBe('ALLOW')
    expect(codeOf(await ask(client, BOTH))).toBe('ALLOW')
    expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(
      Array.from({ length: 4 }, () => `POST ${PATHS.validate}`),
    )
    const bodies = server.requests.map(({ json }) => ValidateRequest.strict().parse(json).deviceId)
    expect(bodies.slice(0, 2).toSorted()).toEqual([DEVICE, SERVER_DEVICE])
    expect(server.requests.every(({ json }) => Object.keys(json as object).join() === 'deviceId')).toBe(true)
    expect(new Set(server.requests.map(({ connection }) => connection)).size).toBe(4)
  })

  test('the devices are asked in parallel', async () => {
    let waiting: (() => void)[] = []
    const { client } = await serverAndClient(
      (request, socket) => {
        waiting.push(() => socket.write(allow(request, {}, 'machineid')))
        if (waiting.length === 2) for (const answer of waiting.splice(0)) answer()
      },
      { profile: 'machineid' },
    )
    expect(codeOf(await ask(client, BOTH))).toBe('ALLOW')
  })

  test('the newest documented shape is enough: allowed, code, request_id', async () => {
    const { client } = await serverAndClient(
      (_, socket, index) =>
        socket.write(httpAnswer(`{"allowed":true,"code":"ALLOW","request_id":"req_${index}"}`)),
      { profile: 'machineid' },
    )
    expect(await ask(client)).toMatchObject({
      answered: true,
      requestId: 'req_0',
      orgId: undefined,
      orgEpoch: undefined,
      decisions: [{ deviceId: DEVICE, allowed: true, epoch: undefined }],
    })
  })

  test.each(['DEVICE_REVOKED', 'PLAN_NOT_ACTIVE', 'PLAN_FROZEN', 'SOMETHING_NEW'])(
    'the code %s passes through, with the ID of its decision',
    async (code) => {
      const { client } = await serverAndClient(
        (request, socket, index) => {
          const { deviceId } = request.json as { deviceId: string }
          socket.write(
            deviceId === DEVICE
              ? denial({ code, request_id: 'req_denied' })
              : httpAnswer(`{"allowed":true,"code":"ALLOW","request_id":"req_${index}"}`),
          )
        },
        { profile: 'machineid' },
      )
      const answer = await ask(client, BOTH)
      expect(codeOf(answer)).toBe(code)
      expect(answer.requestId).toBe('req_denied')
    },
  )

  test('an epoch is given on when it is one, and refused when it is not', async () => {
    const epochs = [4, '4']
    const { client } = await serverAndClient(
      (_, socket, index) => {
        const body = { allowed: true, code: 'ALLOW', request_id: `r${index}`, epoch: epochs[index] }
        socket.write(httpAnswer(JSON.stringify(body)))
      },
      { profile: 'machineid' },
    )
    expect(await client.validate(DEVICE)).toMatchObject({ allowed: true, epoch: 4 })
    expect(await client.validate(DEVICE)).toMatchObject({ allowed: false, code: 'AUTHORITY_BAD_BODY' })
  })

  test('42: the same request_id on the answers for two devices of one question', async () => {
    const { client } = await serverAndClient(
      (_, socket) => socket.write(httpAnswer('{"allowed":true,"code":"ALLOW","request_id":"req_same"}')),
      { profile: 'machineid' },
    )
    expect(codeOf(await ask(client, BOTH))).toBe('AUTHORITY_STALE_ANSWER')
  })

  test.each([
    ['first', [DEVICE, SERVER_DEVICE]],
    ['last', [SERVER_DEVICE, DEVICE]],
  ])(
    'G3: the age counts from the question that left first, also when the %s was asked again',
    async (_, deviceIds) => {
      const clock = new ManualClock()
      const startedAt = clock.now()
      const waiting: (() => void)[] = []
      const { client, server } = await serverAndClient(
        (request, socket, index) => {
          const { deviceId } = request.json as { deviceId: string }
          const reset = index < 2 && deviceId === DEVICE
          waiting.push(() =>
            reset ? socket.resetAndDestroy() : socket.write(allow(request, {}, 'machineid')),
          )
          if (index === 0) return
          // Both have left: what is asked again now leaves 50 ms later.
          if (index === 1) clock.advance(50)
          for (const act of waiting.splice(0)) act()
        },
        { profile: 'machineid', clock },
      )
      expect(await ask(client, { deviceIds })).toMatchObject({ answered: true, sentAt: startedAt })
      expect(server.requests).toHaveLength(3)
    },
  )

  test('when one device gets no usable answer, the other question is given up too', async () => {
    const { client, server } = await serverAndClient(
      (request, socket) => {
        const { deviceId } = request.json as { deviceId: string }
        if (deviceId === DEVICE) socket.write(httpAnswer('{}', { status: '500 Internal Server Error' }))
      },
      { profile: 'machineid' },
    )
    const startMs = performance.now()
    expect(codeOf(await ask(client, { ...BOTH, timeoutMs: 2000 }))).toBe('AUTHORITY_BAD_STATUS')
    expect(performance.now() - startMs).toBeLessThan(1000)
    await expect.poll(() => server.openCount).toBe(0)
  })
})

test('144: proxy variables are ignored: the question goes straight to the authority', async () => {
  const proxy = await startRawServer((_, socket) => socket.end())
  onTestFinished(() => proxy.close())
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy', 'ALL_PROXY']) {
    vi.stubEnv(name, proxy.url)
  }
  onTestFinished(() => void vi.unstubAllEnvs())
  const { client } = await serverAndClient((request, socket) => socket.write(allow(request)))
  expect(codeOf(await ask(client))).toBe('ALLOW')
  expect(proxy.connectionCount).toBe(0)
})

test('a base URL with a path keeps it in front of every call', async () => {
  const server = await startRawServer((request, socket) => socket.write(allow(request)))
  onTestFinished(() => server.close())
  const { client } = await serverAndClient(() => {}, { baseUrl: `${server.url}/authority/` })
  expect(codeOf(await ask(client))).toBe('ALLOW')
  expect(server.requests[0]?.path).toBe(`/authority${PATHS.validateBatch}`)
})
