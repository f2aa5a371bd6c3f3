import OpenAI from 'openai'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, test, vi } from 'vitest'

import { createAlerts, type Alerts, type AlertsOptions } from '../../src/gates/alerts.ts'
import { defineEffect } from '../../src/guard/effect.ts'
import type { GuardOptions } from '../../src/guard/guard.ts'
import { PAYMENTS, SERVER, testGuard, type TestGuard } from '../fixtures/guard.ts'
import { silence, startSink, status, type Received, type Sink } from './sink.ts'

const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
const DEDUPE_MS = 300_000

interface Watched extends TestGuard {
  readonly alerts: Alerts
  readonly sink: Sink
  /** One call of a tool on the surface payments. True when it was carried out. */
  readonly pay: (tool?: string) => Promise<boolean>
  /** As many alerts as that have come. */
  readonly got: (count: number) => Promise<readonly Received[]>
  /** Goes on by so much, and looks what is due. */
  readonly pass: (ms: number) => void
  readonly logged: () => string
}

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const close of closers.splice(0).reverse()) await close()
})

/** A guard that is watched, on a clock that stands still; its alerts go to a real server. */
async function watched(
  options: Partial<AlertsOptions> = {},
  guardOptions: Partial<GuardOptions> = {},
): Promise<Watched> {
  // Only the timer that looks what is due: everything else takes its real time.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const sink = await startSink()
  closers.push(() => sink.close())
  const made = testGuard(guardOptions)
  const { guard, clock, lines } = made
  clock.advanceWall(Date.now() - clock.now().wallMs)
  const alerts = createAlerts({
    url: sink.url,
    secret: SECRET,
    log: guard.log,
    clock,
    retryMs: 1,
    ...options,
  })
  closers.push(() => alerts.close({ graceMs: 50 }))
  alerts.watch(guard)
  await guard.start()
  const pay = async (tool = 'send_payment') => {
    const surface = guard.surface('payments')
    return (await guard.call({ surface, tool }, () => true)).ok
  }
  const got = async (count: number) => {
    await vi.waitFor(() => expect(sink.received.length).toBeGreaterThanOrEqual(count), {
      timeout: 3000,
      interval: 5,
    })
    return sink.received
  }
  const pass = (ms: number) => {
    clock.advance(ms)
    vi.advanceTimersByTime(1000)
  }
  return { ...made, alerts, sink, pay, got, pass, logged: () => JSON.stringify(lines) }
}

function of(received: readonly Received[]) {
  return received.map(({ alert: { type, data } }) => `${type} ${data.status} ${data.code} ${data.count}`)
}

describe('a denial', () => {
  test('is told at once: what, where, since when, and the command to type next', async () => {
    const { authority, pay, got, clock } = await watched()
    authority.stop(PAYMENTS)
    expect(await pay()).toBe(false)
    const [first] = await got(1)
    const now = new Date(clock.now().wallMs).toISOString()
    expect(first?.alert).toEqual({
      type: 'holdpoint.denied',
      timestamp: now,
      data: {
        status: 'firing',
        cause: `denied ${PAYMENTS} DEVICE_REVOKED`,
        summary: `${PAYMENTS} is denied DEVICE_REVOKED at tool of send_payment. Seen once.`,
        next: 'holdpoint explain req-2',
        advice: null,
        count: 1,
        first_at: now,
        last_at: now,
        server_device_id: SERVER,
        device_id: PAYMENTS,
        code: 'DEVICE_REVOKED',
        request_id: 'req-2',
        boundary: 'tool',
        tool: 'send_payment',
        effect: null,
        idempotency_keys: [],
        dropped: 0,
      },
    })
  })

  test('that goes on is one alert, and then one with the count after 5, 10, 20, 40 and 60 minutes', async () => {
    const { authority, pay, got, pass, alerts } = await watched()
    authority.stop(PAYMENTS)
    for (let minutes = 0; minutes < 200; minutes += 1) {
      await pay()
      pass(60_000)
    }
    await alerts.close()
    const told = await got(7)
    const minutes = told.map(({ alert }) => Date.parse(alert.timestamp) / 60_000)
    expect(minutes.map((at, index) => at - (minutes[index - 1] ?? at))).toEqual([0, 5, 10, 20, 40, 60, 60, 5])
    expect(told.map(({ alert }) => alert.data.count)).toEqual([1, 5, 15, 35, 75, 135, 195, 200])
    expect(told[1]?.alert.data.summary).toContain(`Seen 5 times since ${told[0]?.alert.data.first_at}`)
    expect(told[1]?.alert.data.request_id).toBe('req-6')
  })

  test('that stopped by itself is not told again', async () => {
    const { authority, pay, got, pass, sink, alerts } = await watched()
    authority.stop(PAYMENTS)
    await pay()
    await got(1)
    for (let minutes = 0; minutes < 120; minutes += 5) pass(DEDUPE_MS)
    await alerts.close()
    expect(sink.received).toHaveLength(1)
  })

  test('of another device, or with another code, is told too', async () => {
    const { authority, pay, got } = await watched()
    authority.stop(PAYMENTS)
    await pay()
    authority.stop(SERVER, 'DEVICE_LOCKED')
    await pay()
    authority.stop(SERVER, 'ORG_DISABLED')
    await pay()
    expect(of(await got(3))).toEqual([
      'holdpoint.denied firing DEVICE_REVOKED 1',
      'holdpoint.denied firing DEVICE_LOCKED 1',
      'holdpoint.denied firing ORG_DISABLED 1',
    ])
  })

  test('is over once the device is allowed again, after half a minute without one', async () => {
    const { guard, authority, pay, got, pass, sink, clock } = await watched()
    authority.stop(PAYMENTS)
    await pay()
    authority.restore(PAYMENTS)
    await pay()
    pass(30_000)
    // Not about this device.
    await guard.call({ surface: guard.surface('email'), tool: 'send_email' }, () => true)
    pass(1000)
    expect(await pay()).toBe(true)
    const [, over] = await got(2)
    expect(Date.parse(over?.alert.timestamp ?? '')).toBe(clock.now().wallMs)
    expect(over?.alert.data).toMatchObject({
      status: 'resolved',
      code: 'DEVICE_REVOKED',
      next: 'holdpoint status',
    })
    expect(sink.received[1]?.alert.data.summary).toBe(
      `${PAYMENTS} is allowed again, after DEVICE_REVOKED. Seen once.`,
    )
    expect(over?.alert.data.cause).toBe(sink.received[0]?.alert.data.cause)
    // News again.
    authority.stop(PAYMENTS)
    await pay()
    expect(of(await got(3)).at(-1)).toBe('holdpoint.denied firing DEVICE_REVOKED 1')
  })

  test('at startup is told: a replica that cannot begin', async () => {
    const { guard, alerts, sink, authority, got } = await watched()
    expect(sink.received).toEqual([])
    const other = testGuard({ log: guard.log })
    other.authority.stop(SERVER)
    alerts.watch(other.guard)
    await other.guard.start()
    expect((await got(1))[0]?.alert.data).toMatchObject({
      boundary: 'startup',
      tool: null,
      device_id: SERVER,
    })
    expect(authority.boundaries).toEqual(['startup'])
  })

  test('that is no news wakes nobody: a shutdown, a caller that gave up, and what is ignored', async () => {
    const { guard, authority, pay, sink, alerts } = await watched({
      ignore: ({ at }) => at.tool === 'canary',
    })
    const gaveUp = new AbortController()
    gaveUp.abort()
    const surface = guard.surface('payments')
    await guard.call({ surface, tool: 'send_payment', signal: gaveUp.signal }, () => true)
    authority.stop(PAYMENTS)
    await pay('canary')
    await guard.close()
    await pay()
    await alerts.close()
    expect(of(sink.received)).toEqual([])
  })
})

describe('an authority that cannot be asked', () => {
  const broken = () => {
    throw new Error('connect ECONNREFUSED')
  }

  test('is one alert with what to do, and one when it is over', async () => {
    const { authority, pay, got, pass } = await watched()
    for (let calls = 0; calls < 3; calls += 1) {
      authority.next(broken)
      expect(await pay()).toBe(false)
    }
    const [first] = await got(1)
    const code = first?.alert.data.code
    expect(first?.alert).toMatchObject({
      type: 'holdpoint.authority_unavailable',
      data: { device_id: SERVER, count: 1, next: 'holdpoint doctor' },
    })
    expect(code).toMatch(/^AUTHORITY_/)
    expect(first?.alert.data.request_id).toMatch(/^local_/)
    expect(first?.alert.data.advice).toBeTypeOf('string')
    pass(30_000)
    await pay()
    expect(of(await got(2))).toEqual([
      `holdpoint.authority_unavailable firing ${code} 1`,
      `holdpoint.authority_unavailable resolved ${code} 3`,
    ])
  })

  test('is over by a denial of its own, too: it answers', async () => {
    const { authority, pay, got, pass } = await watched()
    authority.next(broken)
    await pay()
    await got(1)
    authority.stop(PAYMENTS)
    pass(30_000)
    await pay()
    expect(of(await got(3)).map((line) => line.split(' ')[1])).toEqual(['firing', 'resolved', 'firing'])
  })

  test('that comes and goes is one outage', async () => {
    const { authority, pay, pass, sink, alerts } = await watched({ dedupeMs: 3_600_000 })
    for (let calls = 0; calls < 10; calls += 1) {
      authority.next(broken)
      await pay()
      pass(15_000)
      await pay()
    }
    await alerts.close()
    expect(of(sink.received).map((line) => line.replace(/AUTHORITY_\w+/, 'code'))).toEqual([
      'holdpoint.authority_unavailable firing code 1',
      'holdpoint.authority_unavailable firing code 10',
    ])
  })
})

test('what the guard denied by itself is not over by an allow, which may have come right before it', async () => {
  const { guard, pay, got, pass, sink, alerts } = await watched()
  const surface = guard.surface('payments')
  guard.denyNow({ surface, boundary: 'side_effect', tool: 'send_payment' }, 'JOURNAL_UNAVAILABLE')
  const [first] = await got(1)
  expect(first?.alert.data).toMatchObject({
    code: 'JOURNAL_UNAVAILABLE',
    next: expect.stringMatching(/^holdpoint explain local_\S+ --code JOURNAL_UNAVAILABLE$/) as string,
  })
  pass(60_000)
  await pay()
  // Forgotten by then, and news again.
  pass(DEDUPE_MS)
  guard.denyNow({ surface, boundary: 'side_effect', tool: 'send_payment' }, 'JOURNAL_UNAVAILABLE')
  await alerts.close()
  expect(of(sink.received)).toEqual([
    'holdpoint.denied firing JOURNAL_UNAVAILABLE 1',
    'holdpoint.denied firing JOURNAL_UNAVAILABLE 1',
  ])
})

test('effects whose outcome nobody knows are told by effect, with the keys they are known by', async () => {
  const { guard, got, pass } = await watched()
  const paying = {
    kind: 'payment',
    key: ({ no }: { no: number }) => String(no),
    run: (): void => {
      throw new Error('the line went dead')
    },
  } as const
  const charge = defineEffect({ ...paying, name: 'charge_card' })
  const surface = guard.surface('payments')
  for (const no of [1, 2, 2])
    await guard.call({ surface, tool: 'pay', callId: 'c' }, (call) => call.commit(charge, { no }))
  const [first] = await got(1)
  expect(first?.alert).toMatchObject({
    type: 'holdpoint.outcome_unknown',
    data: { effect: 'charge_card', device_id: PAYMENTS, tool: 'pay', count: 1, next: 'holdpoint doctor' },
  })
  expect(first?.text).not.toContain('the line went dead')
  pass(DEDUPE_MS)
  const [, second] = await got(2)
  expect(second?.alert.data.count).toBe(3)
  expect(new Set(second?.alert.data.idempotency_keys).size).toBe(2)
  const refund = defineEffect({ ...paying, name: 'refund_card' })
  await guard.call({ surface, tool: 'pay', callId: 'c' }, (call) => call.commit(refund, { no: 1 }))
  expect((await got(3))[2]?.alert.data).toMatchObject({ effect: 'refund_card', count: 1 })
})

describe('each alert', () => {
  test('is signed as Standard Webhooks has it: any of its verifiers takes it, and takes no other', async () => {
    const { authority, pay, got } = await watched()
    authority.stop(PAYMENTS)
    await pay()
    const [first] = await got(1)
    const { headers, text = '', alert } = first ?? {}
    const signed = headers as Record<string, string>
    expect(new Webhook(SECRET).verify(text, signed)).toEqual(alert)
    const openai = new OpenAI({ apiKey: 'none', webhookSecret: SECRET })
    expect(await openai.webhooks.unwrap(text, signed)).toEqual(alert)
    expect(() => new Webhook(SECRET).verify(text.replace('DEVICE', 'device'), signed)).toThrow()
    const other = new Webhook(`whsec_${Buffer.alloc(32, 8).toString('base64')}`)
    expect(() => other.verify(text, signed)).toThrow()
    expect(headers?.['webhook-id']).toMatch(/^msg_/)
    expect(headers?.['content-type']).toBe('application/json')
  })

  test('is sent again with the same id until the sink takes it', async () => {
    const { authority, pay, got, sink, lines } = await watched()
    sink.next(status(503), (response) => void response.destroy(), status(429))
    authority.stop(PAYMENTS)
    await pay()
    const tries = await got(4)
    expect(new Set(tries.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(new Set(tries.map(({ text }) => text)).size).toBe(1)
    await vi.waitFor(() => expect(lines.at(-1)).toMatchObject({ msg: 'over: alerts cannot be delivered' }))
    const said = lines.filter(({ msg }) => String(msg).startsWith('alerts cannot be delivered'))
    expect(said).toHaveLength(1)
  })

  test('never follows a redirect, which could lead anywhere', async () => {
    const elsewhere = await startSink()
    closers.push(() => elsewhere.close())
    const { authority, pay, got, sink } = await watched()
    sink.next(status(307, { location: elsewhere.url }))
    authority.stop(PAYMENTS)
    await pay()
    await got(2)
    expect(elsewhere.received).toEqual([])
  })

  test('that the sink refuses for what it is holds up no other: it is dropped, counted and logged', async () => {
    const { authority, pay, got, sink, lines } = await watched()
    sink.next(status(400), status(400), status(400))
    authority.stop(PAYMENTS)
    await pay()
    await got(3)
    await vi.waitFor(() =>
      expect(lines).toContainEqual(expect.objectContaining({ msg: 'an alert was dropped' })),
    )
    authority.stop(SERVER)
    await pay()
    expect((await got(4))[3]?.alert.data).toMatchObject({ device_id: SERVER, dropped: 1 })
  })

  test('waits in a bounded queue: old ones are dropped, and the next says how many', async () => {
    const { authority, pay, got, sink } = await watched({ maxWaiting: 2 })
    sink.always(status(503))
    for (const code of ['A', 'B', 'C', 'D', 'E', 'F', 'G']) {
      authority.stop(PAYMENTS, code)
      await pay()
      await got(1)
    }
    sink.always(undefined)
    await vi.waitFor(() => expect(sink.received.at(-1)?.alert.data.code).toBe('G'), { interval: 5 })
    const taken = new Map(sink.received.map(({ alert }) => [alert.data.code, alert.data.dropped]))
    expect([...taken]).toEqual([
      ['A', 0],
      ['F', 2],
      ['G', 2],
    ])
  })

  test('holds no key, and neither does the log: not of the sink, of the org, or in what a tool is called', async () => {
    const { authority, pay, got, sink, logged } = await watched()
    sink.next(status(500))
    authority.stop(PAYMENTS, 'sk_live_abcdefgh1234')
    await pay('whsec_abcdefgh12345678')
    const text = JSON.stringify((await got(2)).map((one) => one.text))
    expect(text).not.toMatch(/abcdefgh/)
    expect(text).toContain('whsec_[redacted]')
    expect(logged() + text).not.toContain(SECRET.slice(6, 20))
    expect(logged()).not.toContain('T0K3N')
  })
})

describe('nobody waits for the sink', () => {
  test('one that never answers delays no decision, and changes none', async () => {
    const { authority, pay, sink, got, clock } = await watched({ timeoutMs: 60_000 })
    sink.always(silence)
    authority.stop(PAYMENTS)
    await pay()
    await got(1)
    const before = performance.now()
    for (let calls = 0; calls < 50; calls += 1) {
      authority.stop(PAYMENTS, `CODE_${calls}`)
      expect(await pay()).toBe(false)
    }
    authority.restore(PAYMENTS)
    expect(await pay()).toBe(true)
    expect(performance.now() - before).toBeLessThan(2000)
    expect(clock.now().monotonicMs).toBe(1000)
    expect(sink.received).toHaveLength(1)
  })

  test('one that never answers is given up after timeoutMs, and tried again', async () => {
    const { authority, pay, sink, got } = await watched({ timeoutMs: 20 })
    sink.next(silence)
    authority.stop(PAYMENTS)
    await pay()
    const [first, second] = await got(2)
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id'])
  })

  test('a guard that closes, since its gate exits on a denial, waits until that was told', async () => {
    const { guard, authority, pay, sink } = await watched()
    const told: number[] = []
    sink.always((response) => setTimeout(() => told.push(response.writeHead(204).end().statusCode), 50))
    authority.stop(PAYMENTS)
    await pay()
    expect(await guard.close()).toBe(true)
    expect(told).toEqual([204])
  })

  test('a sink that never answers holds the close of a guard up for a second, and makes no failure of it', async () => {
    const { guard, authority, pay, sink, got } = await watched({ timeoutMs: 60_000 })
    sink.always(silence)
    authority.stop(PAYMENTS)
    await pay()
    await got(1)
    const before = performance.now()
    expect(await guard.close({ graceMs: 0 })).toBe(true)
    expect(performance.now() - before).toBeLessThan(2000)
  })

  test('closing tells what was only counted, and what waits, once more', async () => {
    const { authority, pay, got, alerts, sink } = await watched({ retryMs: 60_000 })
    sink.next(status(503))
    authority.stop(PAYMENTS)
    await pay()
    await pay()
    await got(1)
    await alerts.close()
    expect(of(sink.received)).toEqual([
      'holdpoint.denied firing DEVICE_REVOKED 1',
      'holdpoint.denied firing DEVICE_REVOKED 1',
      'holdpoint.denied firing DEVICE_REVOKED 2',
    ])
  })

  test('closing waits no longer than it may, and logs what was not delivered', async () => {
    const { authority, pay, got, alerts, sink, lines } = await watched({ timeoutMs: 60_000 })
    sink.always(silence)
    authority.stop(PAYMENTS)
    await pay()
    await got(1)
    const before = performance.now()
    await alerts.close({ graceMs: 30 })
    expect(performance.now() - before).toBeLessThan(2000)
    expect(lines.at(-1)).toMatchObject({ msg: 'alerts were not delivered', dropped: 1 })
  })

  test('what is no longer watched, or closed, tells nothing', async () => {
    const { guard, authority, pay, alerts, sink } = await watched()
    const end = alerts.watch(guard)
    end()
    authority.stop(PAYMENTS)
    await pay()
    await alerts.close()
    expect(sink.received).toEqual([])
    expect(() => alerts.watch(guard)).toThrow('closed')
  })

  test('closed, it keeps nothing of what happens then', async () => {
    const { authority, pay, alerts, lines } = await watched({ maxWaiting: 1 })
    await alerts.close()
    for (const code of ['A', 'B', 'C']) {
      authority.stop(PAYMENTS, code)
      await pay()
    }
    expect(lines.map(({ msg }) => msg)).not.toContain('an alert was dropped')
  })

  test('an ignore that throws ignores nothing', async () => {
    const ignore = () => {
      throw new Error('mine')
    }
    const { authority, pay, got } = await watched({ ignore })
    authority.stop(PAYMENTS)
    await pay()
    expect(of(await got(1))).toEqual(['holdpoint.denied firing DEVICE_REVOKED 1'])
  })

  test('a guard that is watched twice is told of once', async () => {
    const { guard, authority, pay, alerts, got } = await watched()
    alerts.watch(guard)
    authority.stop(PAYMENTS)
    await pay()
    await got(1)
    await alerts.close()
    expect((await got(1)).map(({ alert }) => alert.data.count)).toEqual([1])
  })
})

describe('alerts that cannot work are not made, and the reason repeats no secret', () => {
  const right = { url: 'https://sink.example/hooks', secret: SECRET }

  test.each([
    ['without a URL', { ...right, url: '' }],
    ['over plain http', { ...right, url: 'http://sink.example/S3CR3T' }],
    ['with a password in the URL', { ...right, url: 'https://u:S3CR3T@sink.example/' }],
    ['with a secret of another form', { ...right, secret: 'S3CR3T' }],
    ['with a secret that is too short', { ...right, secret: 'whsec_S3CR3T' }],
    ['with a window of no length', { ...right, dedupeMs: 0 }],
  ])('%s', (_how, options) => {
    const make = () => createAlerts(options)
    expect(make).toThrow(expect.objectContaining({ code: 'GUARD_MISCONFIGURED' }) as Error)
    expect(make).toThrow(/^(?!.*S3CR3T)/)
  })
})
