import fc from 'fast-check'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'

import {
  capConnections,
  operatorsPerAddress,
  type ConnectionCaps,
} from '../../src/control-plane/connection-caps.ts'
import { createLagMeter } from '../../src/control-plane/lag.ts'
import { CALL_LIMITS, createCallQuota, VALIDATE_LIMITS } from '../../src/control-plane/limits.ts'
import { createRateLimit } from '../../src/control-plane/rate-limit.ts'
import { closeServer, createWebServer, listen } from '../../src/http.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'

describe('a rate limit', () => {
  test('lets a burst through, then what comes in, and says how long to wait', () => {
    let nowMs = 0
    const limit = createRateLimit({ perSecond: 10, burst: 3, nowMs: () => nowMs })
    const take = () => limit.take('a')
    expect([take(), take(), take()]).toEqual([0, 0, 0])
    expect(take()).toBe(100)
    nowMs = 60
    expect(take()).toBeCloseTo(40)
    nowMs = 100
    expect([take(), take()]).toEqual([0, 100])
    nowMs = 10_000
    expect([take(), take(), take(), take()]).toEqual([0, 0, 0, 100])
    expect(limit.take('b')).toBe(0)
  })

  test('0 is no limit', () => {
    const limit = createRateLimit({ perSecond: 0 })
    for (let turn = 0; turn < 100_000; turn++) expect(limit.take('a')).toBe(0)
  })

  test('forgets only buckets that are full again: it decides as one that forgets nothing', () => {
    const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    const step = fc.record({
      waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 120 }), fc.integer({ min: 0, max: 600 })),
      id: fc.constantFrom(...ids),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        let nowMs = 0
        const limit = createRateLimit({ perSecond: 4, burst: 2, nowMs: () => nowMs })
        const alone = new Map(
          ids.map((id) => [id, createRateLimit({ perSecond: 4, burst: 2, nowMs: () => nowMs })]),
        )
        for (const { waitMs, id } of steps) {
          nowMs += waitMs
          expect(limit.take(id)).toBeCloseTo(alone.get(id)?.take(id) ?? -1, 6)
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('keeps a bounded number of buckets, whatever comes', () => {
    const limit = createRateLimit({ perSecond: 1, nowMs: () => 0, maxBuckets: 10 })
    expect(limit.take('first')).toBe(0)
    expect(limit.take('first')).toBeGreaterThan(0)
    for (let id = 0; id < 19; id++) limit.take(String(id))
    expect(limit.take('first')).toBe(0)
  })
})

describe.each([
  ['in this thread', startTestControlPlane],
  ['in a worker', startTestLanes],
])('quotas on validates, lane %s', (_, start) => {
  const validate = (authority: TestControlPlane, key: string) =>
    authority.post(PATHS.validate, { deviceId: DEVICE }, key)

  test('VALIDATES_PER_SECOND_PER_KEY: 429 with Retry-After and no decision; other keys go on', async () => {
    await using authority = await start({ limits: { perKeyPerSecond: 2, perOrgPerSecond: 0 } })
    await authority.register(DEVICE)
    const answers = []
    for (let turn = 0; turn < 4; turn++) answers.push(await validate(authority, authority.keys.runtime))
    expect(answers.slice(0, 2).map(({ body }) => body.allowed)).toEqual([true, true])
    const limited = answers.find(({ status }) => status !== 200)
    expect(limited).toMatchObject({ status: 429, body: { code: 'RATE_LIMITED', error: 'rate_limited' } })
    expect(limited?.headers.get('retry-after')).toBe('1')
    expect(limited?.body).not.toHaveProperty('allowed')
    expect((await validate(authority, authority.keys.full)).body.allowed).toBe(true)
    await delay(600)
    expect((await validate(authority, authority.keys.runtime)).body.allowed).toBe(true)
  })

  test('VALIDATES_PER_SECOND_PER_ORG counts the keys of an org together, and no other org', async () => {
    await using authority = await start({ limits: { perKeyPerSecond: 0, perOrgPerSecond: 2 } })
    const other = await authority.service.createOrg({ kinds: ['full'] })
    const statuses = []
    for (const key of [authority.keys.runtime, authority.keys.full, authority.keys.runtime]) {
      statuses.push((await validate(authority, key)).status)
    }
    expect(statuses).toEqual([200, 200, 429])
    expect((await validate(authority, other.keys.full ?? '')).status).toBe(200)
  })

  test('a stranger who knows what a key is found by cannot use up its quota', async () => {
    await using authority = await start({ limits: { perKeyPerSecond: 1, perOrgPerSecond: 1 } })
    await authority.register(DEVICE)
    const { runtime } = authority.keys
    const forged = `${runtime.slice(0, -20)}${'0'.repeat(12)}${runtime.slice(-8)}`
    for (let turn = 0; turn < 20; turn++) expect((await validate(authority, forged)).status).toBe(401)
    expect((await validate(authority, runtime)).body.allowed).toBe(true)
  })
})

test('the limits that hold without settings', () => {
  expect(VALIDATE_LIMITS).toEqual({ perKeyPerSecond: 5000, perOrgPerSecond: 20_000 })
  expect(CALL_LIMITS).toEqual({
    registering: { perSecond: 500, burst: 5000 },
    other: { perSecond: 200, burst: 400 },
    evidence: { perSecond: 1500, burst: 5000 },
  })
})

describe('quotas on every other call', () => {
  test('of each kind of key, and one key does not use up that of another', () => {
    const limited: string[] = []
    const quota = createCallQuota({ onLimited: (scope) => void limited.push(scope), nowMs: () => 0 })
    for (const kind of KEY_KINDS) {
      const burst = kind === 'runtime' || kind === 'full' ? 5000 : 400
      for (let turn = 0; turn < burst; turn++) quota({ keyId: kind, kind })
      expect(() => quota({ keyId: kind, kind })).toThrow(/makes more calls .* Stops are not limited/)
    }
    expect(limited).toEqual(KEY_KINDS.map(() => 'calls'))
  })

  test('what replicas say of stops takes the place of no other call, nor the other way round', () => {
    const quota = createCallQuota({ onLimited: () => {}, nowMs: () => 0 })
    const key = { keyId: 'k', kind: 'runtime' } as const
    for (let turn = 0; turn < 5000; turn++) quota(key, 'evidence')
    expect(() => quota(key, 'evidence')).toThrow(/makes more calls/)
    for (let turn = 0; turn < 5000; turn++) quota(key)
    expect(() => quota(key)).toThrow(/makes more calls/)
  })

  test.each(['url', 'operatorUrl'] as const)(
    'a key that asks too often is told so on its lane (%s), and its stops go through all the same',
    async (lane) => {
      // No quota fills up again while a slow machine asks.
      const clock = { now: () => ({ monotonicMs: 0, wallMs: Date.now() }) }
      await using authority = await startTestControlPlane({ limitCalls: true, clock })
      await authority.register(DEVICE)
      const { stop, operator } = authority.keys
      const ask = (key: string, path: string, body?: object) =>
        fetch(`${authority[lane]}${path}`, {
          headers: { 'x-org-key': key, 'content-type': 'application/json' },
          ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
        })
      const statusesOf = async (asking: readonly Promise<Response>[]) => {
        const answers = await Promise.all(asking)
        await Promise.all(answers.map((answer) => answer.text()))
        return answers.map(({ status }) => status)
      }
      for (const key of [stop, operator]) {
        const statuses = await statusesOf(Array.from({ length: 900 }, () => ask(key, PATHS.usage)))
        expect(statuses.filter((status) => status === 200)).toHaveLength(400)
        expect(new Set(statuses)).toEqual(new Set([200, 429]))
        const limited = await ask(key, PATHS.usage)
        expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '1'])
      }
      const stops = [
        ...Array.from({ length: 450 }, () => ask(stop, PATHS.revoke, { deviceId: DEVICE })),
        ...Array.from({ length: 20 }, () => ask(stop, PATHS.orgDisable, {})),
        ...Array.from({ length: 20 }, () => ask(stop, PATHS.revokeBatch, { deviceIds: [DEVICE] })),
        ...Array.from({ length: 20 }, () =>
          ask(stop, PATHS.locks, { pattern: 'openai-agent:*', reason: 'test' }),
        ),
        ...Array.from({ length: 20 }, () => ask(operator, PATHS.remove, { deviceId: DEVICE })),
      ]
      expect(new Set(await statusesOf(stops))).toEqual(new Set([200]))
      const burn = PATHS.keyBurn.replace(':id', stop.split('_')[2] ?? '')
      expect((await ask(stop, burn, {})).status).toBe(200)
    },
  )

  test('a thousand replicas that start at once all register their three devices', async () => {
    await using authority = await startTestControlPlane({ limitCalls: true, plan: { limit: 3000 } })
    const replicas = Array.from({ length: 1000 }, (_, index) => index)
    const register = async (replica: number) => {
      const statuses: number[] = []
      for (const surface of ['tool-server', 'payments', 'email']) {
        const deviceId = `a:test:${surface}:${replica}`
        const { status } = await authority.post(PATHS.register, { deviceId }, authority.keys.runtime)
        statuses.push(status)
      }
      return statuses
    }
    const answers = (await Promise.all(replicas.map(register))).flat()
    expect(answers).toHaveLength(3000)
    expect(answers.filter((status) => status !== 200)).toEqual([])
  })
})

describe('load shedding', () => {
  test('the lag of a loop that was blocked is for how long it was, until it has caught up', async () => {
    const lag = createLagMeter()
    expect(lag.lagMs()).toBe(0)
    lag.start()
    await delay(70)
    expect(lag.lagMs()).toBeLessThan(30)
    blockMs(400)
    expect(lag.lagMs()).toBeGreaterThanOrEqual(330)
    await delay(1)
    // Whichever of a tick and a request comes first.
    expect(lag.takeMaxMs()).toBeGreaterThanOrEqual(330)
    await delay(120)
    expect(lag.lagMs()).toBeLessThan(30)
    lag.stop()
    blockMs(100)
    expect(lag.lagMs()).toBe(0)
  })

  test('the lag of a loop that is busy is what requests wait, however long timers do', async () => {
    const lag = createLagMeter()
    const lags: number[] = []
    // More than the loop takes up at once: then it looks at no timer before it has handled tens of thousands.
    const sockets = 1300
    const server = createServer((socket) => {
      socket.on('data', (data) => {
        lags.push(lag.lagMs())
        socket.write(data)
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    lag.start()
    const waits: number[] = []
    const clients: Socket[] = []
    const untilMs = performance.now() + 2500
    for (let index = 0; index < sockets; index++) {
      const client = connect(port, '127.0.0.1')
      await once(client, 'connect')
      clients.push(client)
    }
    lags.length = 0
    await Promise.all(
      clients.map(async (client) => {
        let sentMs = 0
        const again = () => {
          sentMs = performance.now()
          client.write('x')
        }
        client.on('data', () => {
          waits.push(performance.now() - sentMs)
          if (performance.now() < untilMs) again()
          else client.destroy()
        })
        again()
        await once(client, 'close')
      }),
    )
    lag.stop()
    server.close()
    expect(lags.length).toBeGreaterThan(5000)
    const median = (all: readonly number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0
    // A wait is there and back; the lag is one way.
    expect(median(lags)).toBeLessThan(median(waits) * 1.5)
    expect(median(lags)).toBeGreaterThan(median(waits) / 10)
  })

  test('G4: a lane that is too late answers OVERLOADED without a look at the store, until it has caught up', async () => {
    await using authority = await startTestControlPlane({ shedAtLagMs: 200 })
    await authority.register(DEVICE)
    const ask = () => authority.post(PATHS.validate, { deviceId: DEVICE }, authority.keys.runtime)
    expect((await ask()).body.allowed).toBe(true)
    const socket = connect(authority.port, '127.0.0.1')
    await once(socket, 'connect')
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    const body = JSON.stringify({ deviceId: DEVICE })
    await delay(60)
    socket.write(
      `POST ${PATHS.validate} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${authority.keys.runtime}\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    )
    blockMs(400)
    await once(socket, 'close')
    expect(text).toMatch(/^HTTP\/1\.1 503 /)
    expect(text).toMatch(/"code":"OVERLOADED"/)
    expect(text.toLowerCase()).toContain('retry-after: 1')
    await delay(120)
    expect((await ask()).body.allowed).toBe(true)
  })
})

describe('connections', () => {
  test('beyond the most that the agent lane takes are hung up on', async () => {
    await using authority = await startTestControlPlane({ maxConnections: 3 })
    const sockets = await openAll(authority.port, 3)
    const oneTooMany = connect(authority.port, '127.0.0.1').on('error', () => {})
    await once(oneTooMany, 'close')
    expect(sockets.every((socket) => !socket.closed)).toBe(true)
    for (const socket of sockets) socket.destroy()
  })

  test.each([
    ['in this thread', startTestControlPlane],
    ['beside workers', startTestLanes],
  ])('of strangers lock no operator out, whose lane is %s', async (_, start) => {
    await using authority = await start({ maxConnections: 20 })
    await authority.register(DEVICE)
    const port = Number(new URL(authority.operatorUrl).port)
    const health = 'GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n'
    const half = `POST ${PATHS.orgRecover} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{`
    for (const said of ['', 'GET / HT', health, half]) {
      const strangers = await openAll(port, 20, said)
      const stop = await fetch(`${authority.operatorUrl}${PATHS.revoke}`, {
        method: 'POST',
        headers: {
          'x-org-key': authority.keys.stop,
          'content-type': 'application/json',
          connection: 'close',
        },
        body: JSON.stringify({ deviceId: DEVICE }),
      })
      expect([said, stop.status]).toEqual([said, 200])
      for (const socket of strangers) socket.destroy()
      await delay(50)
    }
  })

  /** A server that answers /held only when told to, as a stream. */
  async function capped(caps: Omit<ConnectionCaps, 'onCut'>) {
    const held: ServerResponse[] = []
    let cuts = 0
    const server = createWebServer({}, undefined, (request, response) => {
      if (request.url === '/held') held.push(response)
      else response.end('done')
    })
    capConnections(server, { ...caps, onCut: () => void cuts++ })
    const { port } = await listen(server, { host: '127.0.0.1', port: 0 })
    onTestFinished(() => closeServer(server, { graceMs: 0 }))
    return { port, held, cuts: () => cuts }
  }

  test('are cut when there are too many: the one that has been idle longest, never one that waits for an answer', async () => {
    const { port, held, cuts } = await capped({ max: 3, perAddress: () => Infinity })
    const [first, second, third] = await openAll(port, 3)
    first?.write('GET /held HTTP/1.1\r\nhost: h\r\n\r\n')
    await expect.poll(() => held.length).toBe(1)
    second?.write('GET / HTTP/1.1\r\nhost: h\r\n\r\n')
    await once(second as Socket, 'data')
    const [fourth] = await openAll(port, 1)
    await expect.poll(() => third?.closed).toBe(true)
    const [fifth] = await openAll(port, 1)
    await expect.poll(() => second?.closed).toBe(true)
    expect([first, fourth, fifth].map((socket) => socket?.closed)).toEqual([false, false, false])
    for (const socket of [fourth, fifth]) socket?.write('GET /held HTTP/1.1\r\nhost: h\r\n\r\n')
    await expect.poll(() => held.length).toBe(3)
    const newcomer = connect(port, '127.0.0.1').on('error', () => {})
    await once(newcomer, 'close')
    expect(cuts()).toBe(3)
    for (const socket of [first, fourth, fifth]) socket?.destroy()
  })

  test('of one address are cut for those of the same address, and of no other', async () => {
    const { port } = await capped({ max: 10, perAddress: (address) => (address === '127.0.0.2' ? 2 : 10) })
    const [operator] = await openAll(port, 1)
    const strangers = await openAll(port, 4, '', '127.0.0.2')
    await expect.poll(() => strangers.map(({ closed }) => closed)).toEqual([true, true, false, false])
    expect(operator?.closed).toBe(false)
    for (const socket of [operator, ...strangers]) socket?.destroy()
  })

  test.each([
    ['127.0.0.1', Infinity],
    ['::1', Infinity],
    ['::ffff:127.0.0.1', Infinity],
    ['192.0.2.1', 200],
    ['2001:db8::1', 200],
  ])('from %s the operator lane takes %s', (address, most) => {
    expect(operatorsPerAddress(0)(address)).toBe(most)
    // Behind a proxy of our own everybody comes from one address.
    expect(operatorsPerAddress(1)(address)).toBe(Infinity)
  })
})

async function openAll(
  port: number,
  count: number,
  said = '',
  localAddress = '127.0.0.1',
): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let index = 0; index < count; index++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {})
    await once(socket, 'connect')
    socket.resume()
    if (said !== '') socket.write(said)
    sockets.push(socket)
    await delay(2)
  }
  await delay(20)
  return sockets
}

function blockMs(ms: number): void {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs);
}
