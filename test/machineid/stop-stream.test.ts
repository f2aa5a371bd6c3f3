import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { MachineID } from '../../src/machineid/client.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { httpAnswer, type RawRequest } from '../fixtures/raw-server.ts'
import { ManualClock } from '../fixtures/scripted-authority.ts'
import { ORG_KEY } from './harness.ts'
import {
  ack,
  current,
  event,
  hello,
  opened,
  ORG,
  PAYMENTS,
  SERVER,
  stop,
  stored,
  streamHead,
  streamTo,
} from './stop-stream-harness.ts'

const keyOf = (request: RawRequest | undefined) => request?.headers['x-org-key']

describe('an open stream', () => {
  test('tells each stop of our devices, and says who we are', async () => {
    const { stream, stops, connections, up, reaches } = await streamTo({
      afterEpoch: 3,
      stops: (socket) =>
        socket.write(
          `${streamHead()}retry: 4000\n\n${hello()}${stop(4, [SERVER])}${current(5)}:\n\n${stop(6, ['other:device', PAYMENTS])}`,
        ),
    })
    await up()
    await reaches(() => stops.length === 2)
    expect(stops).toEqual([
      { epoch: 4, deviceIds: [SERVER] },
      { epoch: 6, deviceIds: [PAYMENTS] },
    ])
    const [request] = connections()
    expect(new URL(request?.path ?? '', 'http://x').searchParams.toString()).toBe(
      new URLSearchParams({
        replica: `${SERVER}/0a1b2c3d`,
        devices: `${SERVER},${PAYMENTS}`,
        after: '3',
      }).toString(),
    )
    expect(request?.headers).toMatchObject({
      'x-org-key': ORG_KEY,
      accept: 'text/event-stream',
      'accept-encoding': 'identity',
    })
    expect(request?.headers['last-event-id']).toBeUndefined()
    expect(stream.state).toMatchObject({
      up: true,
      code: undefined,
      keyKind: 'runtime',
      replica: `${SERVER}/0a1b2c3d`,
    })
  })

  test('is up only once everything that was missed has been told', async () => {
    let tell = () => {}
    const { stream, stops, reaches, up } = await streamTo({
      timing: { openWithinMs: 3000 },
      stops: (socket) => {
        socket.write(streamHead() + hello() + stop(4))
        tell = () => void socket.write(current(4))
      },
    })
    await reaches(() => stops.length === 1)
    expect(stream.state.up).toBe(false)
    tell()
    await up()
  })

  test('passes multi-byte text that is split between two packets', async () => {
    const { stops, reaches } = await streamTo({
      stops: (socket) => {
        const bytes = Buffer.from(
          opened() + event('stop', { epoch: 6, deviceIds: [PAYMENTS], action: 'ключ' }),
        )
        const half = bytes.indexOf(Buffer.from('ю')) + 1
        socket.write(bytes.subarray(0, half))
        setTimeout(() => socket.write(bytes.subarray(half)), 20)
      },
    })
    await reaches(() => stops.length === 1)
  })

  test('lives on heartbeats, and is hung up on when they stay away', async () => {
    let beating = true
    const { stream, connections, up, reaches } = await streamTo({
      stops: (socket) => {
        socket.write(opened(5, { heartbeatMs: 1 }))
        const timer = setInterval(() => {
          if (beating) socket.write(': beat\n\n')
        }, 50)
        socket.on('close', () => clearInterval(timer))
      },
    })
    await up()
    await new Promise((resolve) => setTimeout(resolve, 800))
    expect([stream.state.up, connections().length]).toEqual([true, 1])
    beating = false
    await reaches(() => connections().length === 2)
    expect(stream.state.code === 'AUTHORITY_TIMEOUT' || stream.state.up).toBe(true)
  })

  test('goes through a path prefix, and to a private CA', async () => {
    const tls = selfSigned()
    const made = await streamTo({ pathPrefix: '/holdpoint', caPem: tls.cert, server: { tls } })
    await made.up()
    expect(made.connections()[0]?.path).toMatch(/^\/holdpoint\/api\/v1\/stops\?/)
    await made.reaches(() => made.presences().length === 1)
  })

  test('to a server that cannot prove who it is tells nothing', async () => {
    const made = await streamTo({ server: { tls: selfSigned() } })
    await made.reaches(() => made.stream.state.code === 'AUTHORITY_TLS')
    expect(made.server.requests).toEqual([])
  })
})

describe('a stream that was lost', () => {
  test('comes back after what was told last', async () => {
    const { connections, stream, reaches, stops } = await streamTo({
      afterEpoch: 3,
      stops: (socket, n) => {
        if (n === 0) socket.end(opened(5) + stop(8))
        else socket.write(streamHead() + hello() + stop(11) + current(12))
      },
    })
    await reaches(() => stops.length === 2 && stream.state.up)
    expect(connections().map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '8'])
    expect(connections()[1]?.path).toMatch(/&after=3$/)
  })

  test('waits longer each time', async () => {
    const at: number[] = []
    vi.spyOn(Math, 'random').mockReturnValue(1)
    onTestFinished(() => void vi.restoreAllMocks())
    const { reaches } = await streamTo({
      stops: (socket) => {
        at.push(performance.now())
        socket.destroy()
      },
      timing: { retryMinMs: 20, retryMaxMs: 80 },
    })
    await reaches(() => at.length === 6)
    const gapsMs = at.slice(1).map((ms, n) => ms - (at[n] ?? 0))
    const atLeastMs = [20, 40, 80, 80, 80]
    gapsMs.forEach((gapMs, n) => expect(gapMs).toBeGreaterThan((atLeastMs[n] ?? 0) - 2))
  })

  test('waits a random part less, so that a fleet does not come back in step', async () => {
    const at: number[] = []
    vi.spyOn(Math, 'random').mockReturnValue(0)
    onTestFinished(() => void vi.restoreAllMocks())
    const { reaches } = await streamTo({
      stops: (socket) => {
        at.push(performance.now())
        socket.destroy()
      },
      timing: { retryMinMs: 400, retryMaxMs: 400 },
    })
    await reaches(() => at.length === 2)
    const gapMs = (at[1] ?? 0) - (at[0] ?? 0)
    expect(gapMs).toBeGreaterThan(198)
    expect(gapMs).toBeLessThan(390)
  })

  test('comes back at once after it was up for long, and later when it never held', async () => {
    const clock = new ManualClock()
    const at: number[] = []
    const { reaches } = await streamTo({
      clock,
      timing: { retryMinMs: 20, retryMaxMs: 10_000, stableMs: 5000 },
      stops: (socket, n) => {
        at.push(performance.now())
        if (n < 4) return void socket.destroy()
        socket.write(opened(), () => {
          setTimeout(() => {
            clock.advance(5000)
            socket.destroy()
          }, 30)
        })
      },
    })
    await reaches(() => at.length === 6)
    // 20, 40, 80, 160 ms, halved at the most, and then 20 ms once more instead of 320.
    expect((at[4] ?? 0) - (at[3] ?? 0)).toBeGreaterThan(78)
    expect((at[5] ?? 0) - (at[4] ?? 0)).toBeLessThan(158)
  })

  test.each(['429 Too Many Requests', '503 Service Unavailable'])(
    '%s: not before Retry-After',
    async (status) => {
      const at: number[] = []
      const { up } = await streamTo({
        stops: (socket, n) => {
          at.push(performance.now())
          if (n === 0) socket.write(httpAnswer('{}', { status, headers: { 'retry-after': '1' } }))
          else socket.write(opened())
        },
      })
      await up()
      expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(998)
    },
  )

  test('401: the key file is read again before the next attempt', async () => {
    const orgKeyFile = keyFile('org_old')
    const { up, connections } = await streamTo({
      key: { orgKeyFile },
      stops: (socket, n, request) => {
        if (keyOf(request) === 'org_new') return void socket.write(opened())
        if (n === 1) writeFileSync(orgKeyFile, 'org_new')
        socket.write(httpAnswer('{"error":"unauthorized"}', { status: '401 Unauthorized' }))
      },
    })
    await up()
    expect(connections().map(keyOf)).toEqual(['org_old', 'org_old', 'org_new'])
  })
})

describe('a key that is burned', () => {
  test('stops every device, ends the stream, and the next key opens it again', async () => {
    const orgKeyFile = keyFile('org_burned')
    const { stops, up, stream, reaches, connections, acks } = await streamTo({
      key: { orgKeyFile },
      stops: (socket, n, request) => {
        if (keyOf(request) === 'org_fresh') return void socket.write(opened(9))
        if (n === 0) socket.end(opened() + event('key_cut', { epoch: 8 }) + stop(9))
        else socket.write(httpAnswer('{"error":"unauthorized"}', { status: '401 Unauthorized' }))
      },
    })
    await reaches(() => stream.state.code === 'AUTHORITY_UNAUTHORIZED')
    expect(stops[0]).toEqual({ epoch: 8, deviceIds: undefined })
    stream.acknowledge(ack({ epoch: 8 }))
    await reaches(() => connections().length === 3)
    expect(acks()).toEqual([])
    writeFileSync(orgKeyFile, 'org_fresh')
    await up()
    await reaches(() => acks().length === 1)
  })
})

describe('acknowledgements', () => {
  test('go out at once, those of one tick together, with counts and calls', async () => {
    const { stream, up, reaches, ackPosts } = await streamTo()
    await up()
    stream.acknowledge(ack({ epoch: 7, phase: 'received', running: 2 }))
    const calls = [
      { callId: 'call_1', runId: 'run_1', tool: 'pay', end: 'aborted' as const },
      { callId: undefined, runId: undefined, tool: undefined, end: 'unknown' as const },
    ]
    stream.acknowledge(ack({ epoch: 7, phase: 'settled', calls }))
    await reaches(() => ackPosts().length === 1)
    expect(ackPosts()[0]?.json).toEqual({
      replica: `${SERVER}/0a1b2c3d`,
      acks: [
        { epoch: 7, phase: 'received', aborted: 0, finished: 0, unknown: 0, running: 2, calls: [] },
        {
          epoch: 7,
          phase: 'settled',
          aborted: 1,
          finished: 0,
          unknown: 1,
          running: 0,
          calls: [
            { callId: 'call_1', runId: 'run_1', tool: 'pay', end: 'aborted' },
            { callId: null, runId: null, tool: null, end: 'unknown' },
          ],
        },
      ],
    })
  })

  test.each([
    ['503', () => httpAnswer('{}', { status: '503 Service Unavailable' })],
    ['429', () => httpAnswer('{"code":"RATE_LIMITED"}', { status: '429 Too Many Requests' })],
    ['401', () => httpAnswer('{"code":"UNAUTHORIZED"}', { status: '401 Unauthorized' })],
    [
      'an answer of another org',
      () => httpAnswer('{"status":"ok","handler":"x","request_id":"r","orgId":"o_2","stored":1}'),
    ],
    ['garbage', () => Buffer.from('garbage')],
  ])('are tried again after %s, until they are delivered', async (_, answer) => {
    const { stream, up, reaches, ackPosts } = await streamTo({ ack: (n) => (n < 2 ? answer() : stored()) })
    await up()
    stream.acknowledge(ack())
    await reaches(() => ackPosts().length === 3)
    const bodies = new Set(ackPosts().map(({ body }) => body))
    expect(bodies.size).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(ackPosts()).toHaveLength(3)
  })

  test('that the authority itself refuses are not sent again, and keep no other back', async () => {
    const refused = () => httpAnswer('{"code":"VALIDATION_ERROR"}', { status: '400 Bad Request' })
    const { stream, up, reaches, acks } = await streamTo({ ack: (n) => (n === 0 ? refused() : stored()) })
    await up()
    stream.acknowledge(ack({ epoch: 7 }))
    await reaches(() => acks().length === 1)
    stream.acknowledge(ack({ epoch: 8 }))
    await reaches(() => acks().length === 2)
    expect(acks().map(({ epoch }) => epoch)).toEqual([7, 8])
  })

  test('of many and long calls fit into what the authority reads, and count them all', async () => {
    const { stream, up, reaches, ackPosts, acks } = await streamTo()
    await up()
    const long = {
      callId: `\0${'ü'.repeat(400)}\ud800`,
      runId: 'r'.repeat(300),
      tool: '',
      end: 'finished' as const,
    }
    for (let epoch = 10; epoch < 40; epoch += 1) {
      stream.acknowledge(ack({ epoch, phase: 'settled', calls: Array.from({ length: 1000 }, () => long) }))
    }
    await reaches(() => acks().length === 30)
    for (const { body } of ackPosts()) expect(Buffer.byteLength(body)).toBeLessThan(16 * 1024)
    expect(acks()[0]).toMatchObject({
      finished: 1000,
      calls: expect.arrayContaining([
        { callId: 'ü'.repeat(255), runId: 'r'.repeat(256), tool: null, end: 'finished' },
      ]),
    })
  })

  test('wait for as long as a stop asks them to, some of it at random, and then go together', async () => {
    const asks = event('stop', { epoch: 9, deviceIds: [PAYMENTS], action: 'org.disable', ackAfterMs: 400 })
    const { stream, stops, reaches, acks, ackPosts } = await streamTo({
      stops: (socket) => socket.write(`${opened()}${asks}`),
    })
    await reaches(() => stops.length === 1)
    const startMs = performance.now()
    stream.acknowledge(ack({ epoch: 9 }))
    await new Promise((resolve) => setTimeout(resolve, 20))
    stream.acknowledge(ack({ epoch: 9, phase: 'settled' }))
    await reaches(() => acks().length === 2)
    expect(ackPosts()).toHaveLength(1)
    expect(performance.now() - startMs).toBeGreaterThan(150)
  })

  test('that cannot be delivered are kept up to 1,000, the newest', async () => {
    let broken = true
    const { stream, up, reaches, acks, ackPosts } = await streamTo({
      ack: () => (broken ? httpAnswer('{}', { status: '503 Service Unavailable' }) : stored()),
    })
    await up()
    for (let epoch = 1; epoch <= 1200; epoch += 1) stream.acknowledge(ack({ epoch }))
    await reaches(() => ackPosts().length === 1)
    broken = false
    const first = ackPosts().length
    await reaches(() => acks().some(({ epoch }) => epoch === 1200))
    const delivered = ackPosts()
      .slice(first)
      .flatMap(({ json }) => (json as { acks: { epoch: number }[] }).acks.map(({ epoch }) => epoch))
    expect([delivered[0], delivered.length]).toEqual([201, 1000])
  })
})

describe('presence', () => {
  test('is told when the stream opens, and again and again', async () => {
    const { presences, reaches } = await streamTo({ timing: { presenceEveryMs: 30, presenceChangedMs: 10 } })
    await reaches(() => presences().length >= 3)
    expect(presences()[0]).toEqual({
      replica: `${SERVER}/0a1b2c3d`,
      devices: [
        { deviceId: SERVER, inFlight: 1 },
        { deviceId: PAYMENTS, inFlight: 0 },
      ],
      timeoutMs: 2000,
      latencyMs: { p50: 1.5, p99: 9 },
    })
  })

  test('is told anew soon after the counts have changed, and not again while they stay', async () => {
    let inFlight = 1
    const { presences, up, reaches } = await streamTo({
      timing: { presenceEveryMs: 60_000, presenceChangedMs: 10 },
      busy: () => ({ devices: [{ deviceId: SERVER, inFlight }], timeoutMs: 2000, latencyMs: undefined }),
    })
    await up()
    await reaches(() => presences().length === 1)
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect(presences()).toHaveLength(1)
    inFlight = 7
    await reaches(() => presences().length === 2)
    expect(presences()[1]).toMatchObject({ devices: [{ deviceId: SERVER, inFlight: 7 }] })
  })

  test('is told while the stream is down too: a process that only lost it is not silent', async () => {
    const { presences, stream, reaches } = await streamTo({
      stops: (socket) => socket.destroy(),
      timing: { presenceEveryMs: 20, presenceChangedMs: 10 },
    })
    await reaches(() => presences().length >= 3)
    expect(stream.state.up).toBe(false)
  })

  test('says that we leave when the stream is closed, after the last acknowledgement', async () => {
    const { stream, up, presences, server } = await streamTo()
    await up()
    stream.acknowledge(ack())
    await stream.close({ leaving: true })
    expect(presences().at(-1)).toMatchObject({ leaving: true })
    expect(server.requests.at(-1)?.path).toBe('/api/v1/presence')
    expect(server.requests.map(({ path }) => path)).toContain('/api/v1/stops/ack')
    await vi.waitFor(() => expect(server.openCount).toBe(0))
  })

  test('a close that nobody answers ends all the same', async () => {
    const { stream, up, server } = await streamTo({ presence: () => Buffer.alloc(0) })
    await up()
    const startMs = performance.now()
    await stream.close({ leaving: true })
    expect(performance.now() - startMs).toBeLessThan(2000)
    await vi.waitFor(() => expect(server.openCount).toBe(0))
  })

  test('a close that is answered slowly does not wait for every acknowledgement', async () => {
    const { stream, up, ackPosts } = await streamTo({ ack: stored, delayMs: 200 })
    await up()
    const call = { callId: 'c'.repeat(200), runId: 'r', tool: 't', end: 'finished' as const }
    const calls = Array.from({ length: 100 }, () => call)
    for (let epoch = 10; epoch < 50; epoch += 1) stream.acknowledge(ack({ epoch, phase: 'settled', calls }))
    const startMs = performance.now()
    await stream.close({ leaving: true })
    expect(performance.now() - startMs).toBeLessThan(2500)
    expect(ackPosts().length).toBeGreaterThan(1)
  })

  test('whose stream comes up while it leaves does not say that it is there again', async () => {
    let open = () => {}
    const { stream, up, presences, reaches, connections } = await streamTo({
      delayMs: 100,
      timing: { openWithinMs: 3000 },
      stops: (socket, n) => {
        if (n === 0) socket.write(opened(), () => setTimeout(() => socket.destroy(), 20))
        else open = () => void socket.write(opened())
      },
    })
    await up()
    await reaches(() => connections().length === 2 && presences().length > 0)
    const closing = stream.close({ leaving: true })
    await reaches(() => presences().at(-1)?.['leaving'] === true)
    open()
    await closing
    expect(presences().at(-1)).toMatchObject({ leaving: true })
  })

  test('a closed stream does not come back', async () => {
    const { stream, up, connections } = await streamTo()
    await up()
    await stream.close({ leaving: true })
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(connections()).toHaveLength(1)
    expect(stream.state).toMatchObject({ up: false, code: 'GUARD_SHUTTING_DOWN' })
  })
})

describe('a process', () => {
  test.each(['close', 'leave'])(
    'with an open stream ends when it has nothing else to do: %s',
    async (what) => {
      const { server, connections } = await streamTo()
      const child = fileURLToPath(new URL('child-stop-stream.ts', import.meta.url))
      const run = promisify(execFile)
      const startMs = performance.now()
      await run(process.execPath, ['--conditions=holdpoint-source', child, server.url, what], {
        timeout: 8000,
      })
      expect(performance.now() - startMs).toBeLessThan(8000)
      expect(connections().map(keyOf)).toContain('org_child_key')
      const left = server.requests.filter(({ json }) => (json as { leaving?: boolean } | undefined)?.leaving)
      expect(left).toHaveLength(what === 'close' ? 1 : 0)
    },
  )
})

describe('MachineID.openStops', () => {
  const options = { orgKey: ORG_KEY, baseUrl: 'http://127.0.0.1:1' }

  test('is not there in profile machineid', async () => {
    expect(new MachineID({ ...options, profile: 'machineid' }).openStops).toBeUndefined()
  })

  test('is named as the client is in its questions, and the second of one client by another name', async () => {
    const client = new MachineID({ ...options, orgId: ORG, replica: 'pod-7' })
    const stops = {
      deviceIds: [SERVER],
      afterEpoch: 1,
      onStop: () => {},
      presence: () => ({ devices: [], timeoutMs: 1, latencyMs: undefined }),
    }
    const streams = [client.openStops?.(stops), client.openStops?.(stops)]
    expect(streams.map((stream) => stream?.state.replica)).toEqual(['pod-7', 'pod-7/2'])
    await client.close()
    expect(streams.map((stream) => stream?.state.code)).toEqual([
      'GUARD_SHUTTING_DOWN',
      'GUARD_SHUTTING_DOWN',
    ])
  })

  test.each(['', 'x'.repeat(257), 'half \ud800', 'nul \0'])(
    'a replica that is no name is GUARD_MISCONFIGURED: %j',
    (replica) => {
      expect(() => new MachineID({ ...options, replica })).toThrow(/replica must be a name/)
    },
  )
})

function keyFile(content: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-key-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'key')
  writeFileSync(file, content)
  return file
}
