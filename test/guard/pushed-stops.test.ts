import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, onTestFinished, test, vi } from 'vitest'

import type { GuardOptions, HoldPoint } from '../../src/guard/guard.ts'
import type { Work } from '../../src/guard/in-flight.ts'
import type { ScriptedStopStream } from '../fixtures/scripted-authority.ts'
import { EMAIL, PAYMENTS, SERVER, startedGuard, testGuard } from '../fixtures/guard.ts'

async function made(options: Partial<GuardOptions> = {}) {
  const started = await startedGuard(options)
  const stream = started.authority.stream as ScriptedStopStream
  const at = (surface: string): HoldPoint => ({
    surface: started.guard.surface(surface),
    boundary: 'tool',
    tool: 'read_ledger',
    callId: 'call_1',
    runId: 'run_1',
  })
  return { ...started, stream, at }
}
type Made = Awaited<ReturnType<typeof made>>

/** A body that runs until it is told to end, or until it is aborted. */
async function reader({ guard, at }: Made, surface: string, { heeds = true } = {}) {
  const begun = Promise.withResolvers<Work>()
  const end = Promise.withResolvers<void>()
  const ran = guard.run(at(surface), async (work) => {
    begun.resolve(work)
    if (heeds) work.signal.addEventListener('abort', () => end.reject(new Error('aborted')))
    await end.promise
    return 'read'
  })
  const ended = ran.then(
    () => 'finished',
    () => 'rejected',
  )
  const { signal } = await begun.promise
  return { signal, ended, finish: end.resolve }
}

async function stoppedReader(all: Made) {
  const body = await reader(all, 'payments')
  all.authority.stopNow(PAYMENTS)
  await body.ended
  return body
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc()')
}

/** An answer that has left the authority and is still on its way. */
async function answerOnItsWay({ guard, authority, at }: Made, surface: string) {
  const delivered = Promise.withResolvers<void>()
  authority.next(async ({ deviceIds }) => {
    const { epoch } = authority
    const decisions = deviceIds.map((deviceId) => ({ deviceId, allowed: true as const, epoch }))
    const sentAt = { monotonicMs: 1000, wallMs: 1_700_000_000_000 }
    await delivered.promise
    return { answered: true, decisions, requestId: 'req-early', orgId: 'o_test', orgEpoch: epoch, sentAt }
  })
  let ran = false
  const outcome = guard.run(at(surface), () => {
    ran = true
  })
  return { arrives: () => (delivered.resolve(), outcome), ran: () => ran }
}

describe('an answer that a pushed stop has overtaken', () => {
  test('is denied STOP_PUSHED, for the device that was stopped, and the body does not start', async () => {
    const all = await made()
    const answer = await answerOnItsWay(all, 'payments')
    all.authority.stopNow(PAYMENTS)
    const { decision } = await answer.arrives()
    expect(decision).toMatchObject({ allowed: false, code: 'STOP_PUSHED', deviceId: PAYMENTS })
    expect(answer.ran()).toBe(false)
  })

  test('G8: its denial is logged under the request that had allowed, at warn', async () => {
    const all = await made()
    const answer = await answerOnItsWay(all, 'payments')
    all.authority.stopNow(PAYMENTS)
    await answer.arrives()
    expect(all.lines.at(-1)).toMatchObject({
      level: 'warn',
      code: 'STOP_PUSHED',
      request_id: 'req-early',
      device_id: PAYMENTS,
      device_ids: [SERVER, PAYMENTS],
      tool: 'read_ledger',
    })
  })

  test('is a denial when it is decided: no allow is logged', async () => {
    const all = await made()
    all.authority.next(({ deviceIds }) => {
      const { epoch } = all.authority
      const decisions = deviceIds.map((deviceId) => ({ deviceId, allowed: true as const, epoch }))
      all.authority.stopNow(PAYMENTS)
      const sentAt = all.clock.now()
      return { answered: true, decisions, requestId: 'req-early', orgId: 'o_test', orgEpoch: epoch, sentAt }
    })
    const checked = await all.guard.check(all.at('payments'))
    expect(checked).toMatchObject({ allowed: false, decision: { code: 'STOP_PUSHED' } })
    expect(all.lines.filter(({ request_id }) => request_id === 'req-early')).toHaveLength(1)
  })

  test('is denied in the starting tick too, where the stop came after the verdict', async () => {
    const { guard, authority, at } = await made()
    const checked = await guard.check(at('payments'))
    if (!checked.allowed) throw new Error(checked.decision.code)
    authority.stopNow(PAYMENTS)
    const started = checked.permit.start(() => 'ran')
    expect(started).toMatchObject({ started: false, denied: { code: 'STOP_PUSHED', deviceId: PAYMENTS } })
  })

  test('counts where the stop is of another device', async () => {
    const all = await made()
    const answer = await answerOnItsWay(all, 'payments')
    all.authority.stopNow(EMAIL)
    expect((await answer.arrives()).allowed).toBe(true)
    expect(answer.ran()).toBe(true)
  })

  test('is denied for every device when the key is burned', async () => {
    const all = await made()
    const answer = await answerOnItsWay(all, 'payments')
    all.stream.push((all.authority.epoch += 1))
    expect((await answer.arrives()).decision).toMatchObject({ code: 'STOP_PUSHED', deviceId: SERVER })
  })

  test('does not end a process that ends when its server device is denied: only the authority says that', async () => {
    const told: string[] = []
    const all = await made({ onServerDenied: ({ code }) => told.push(code) })
    const answer = await answerOnItsWay(all, 'payments')
    all.authority.stopNow(SERVER)
    await answer.arrives()
    expect(told).toEqual([])
    await all.guard.run(all.at('payments'), () => undefined)
    expect(told).toEqual(['DEVICE_REVOKED'])
  })
})

describe('G1, G6: an allow of the epoch of a stop, or of a newer one, is never touched by it', () => {
  test.each([
    ['late', 1],
    ['twice', 2],
  ])('a stop that comes %s after the restore denies nothing and aborts nothing', async (_, times) => {
    const all = await made()
    const { authority, stream, guard, at } = all
    authority.stop(PAYMENTS)
    const stopped = authority.epoch
    authority.restore(PAYMENTS)
    const body = await reader(all, 'payments')
    for (let n = 0; n < times; n += 1) stream.push(stopped, [SERVER, PAYMENTS])
    expect(body.signal.aborted).toBe(false)
    expect((await guard.run(at('payments'), () => undefined)).allowed).toBe(true)
    body.finish()
    expect(await body.ended).toBe('finished')
  })

  test('a body that was allowed at exactly that epoch goes on', async () => {
    const all = await made()
    const body = await reader(all, 'payments')
    all.stream.push(all.authority.epoch, [SERVER, PAYMENTS])
    expect(body.signal.aborted).toBe(false)
    body.finish()
  })

  test('an older stop that comes after a newer one lowers nothing', async () => {
    const all = await made()
    const answer = await answerOnItsWay(all, 'payments')
    all.authority.epoch = 10
    all.stream.push(10, [PAYMENTS])
    all.stream.push(0, [PAYMENTS])
    expect((await answer.arrives()).decision.code).toBe('STOP_PUSHED')
  })

  test('a stop never allows: what the authority denies stays denied', async () => {
    const { guard, authority, at } = await made()
    authority.stopNow(PAYMENTS)
    expect((await guard.run(at('payments'), () => undefined)).decision.code).toBe('DEVICE_REVOKED')
  })
})

test.each([Number.NaN, '9' as unknown as number])(
  'P1: an epoch that is no number lowers nothing: %s',
  async (epoch) => {
    const all = await made()
    const answer = await answerOnItsWay(all, 'payments')
    all.authority.stopNow(PAYMENTS)
    all.stream.push(epoch, [PAYMENTS])
    expect((await answer.arrives()).decision.code).toBe('STOP_PUSHED')
  },
)

test('an allow whose epoch is no number is older than any stop', async () => {
  const all = await made()
  all.authority.stopNow(PAYMENTS)
  all.authority.restore(PAYMENTS)
  all.authority.epoch = Number.NaN
  const { decision } = await all.guard.run(all.at('payments'), () => undefined)
  expect(decision.code).toBe('STOP_PUSHED')
})

describe('bodies in flight', () => {
  test('of an older allow are aborted, and only those of the devices that it stops', async () => {
    const all = await made()
    const [payments, email, server] = [
      await reader(all, 'payments'),
      await reader(all, 'email'),
      await reader(all, 'tool-server'),
    ]
    all.authority.stopNow(PAYMENTS)
    expect([payments.signal.aborted, email.signal.aborted, server.signal.aborted]).toEqual([
      true,
      false,
      false,
    ])
    expect(await payments.ended).toBe('rejected')
    email.finish()
    server.finish()
  })

  test('are all aborted when the server device is stopped, or the key is burned', async () => {
    for (const devices of [[SERVER], undefined]) {
      const all = await made()
      const bodies = [await reader(all, 'payments'), await reader(all, 'email')]
      all.stream.push((all.authority.epoch += 1), devices)
      expect(bodies.map(({ signal }) => signal.aborted)).toEqual([true, true])
    }
  })

  test('a whole run, which is under no allow, is not hit by itself', async () => {
    const { guard, authority } = await made()
    const end = Promise.withResolvers<void>()
    let signal: AbortSignal | undefined
    const run = guard.track(undefined, (work) => {
      signal = work.signal
      return end.promise
    })
    authority.stopNow(SERVER)
    expect(signal?.aborted).toBe(false)
    end.resolve()
    await run
  })
})

describe('acknowledgements', () => {
  test('a stop that finds nothing is received and settled at once', async () => {
    const { authority, stream } = await made()
    const epoch = authority.stopNow(PAYMENTS)
    expect(stream.acks).toEqual([
      { epoch, phase: 'received', running: 0, calls: [] },
      { epoch, phase: 'settled', running: 0, calls: [] },
    ])
  })

  test('settled is told when the last that it found has ended, with what became of each', async () => {
    const all = await made()
    const heeds = await reader(all, 'payments')
    const heedless = await reader(all, 'payments', { heeds: false })
    const other = await reader(all, 'email')
    const epoch = all.authority.stopNow(PAYMENTS)
    await heeds.ended
    expect(all.stream.told).toEqual([`received ${epoch}: 2 running`])
    heedless.finish()
    await heedless.ended
    expect(all.stream.told).toEqual([`received ${epoch}: 2 running`, `settled ${epoch}: aborted finished`])
    const [call] = all.stream.acks.at(-1)?.calls ?? []
    expect(call).toEqual({ callId: 'call_1', runId: 'run_1', tool: 'read_ledger', end: 'aborted' })
    other.finish()
  })

  test('a body is given its signal alone: it neither says how it ends nor aborts itself', async () => {
    const { guard, at } = await made()
    const ran = await guard.run(at('payments'), (work) => Object.keys(work))
    expect(ran).toMatchObject({ value: ['signal'] })
  })

  test('a stop that waits for a body is remembered longer than those that have settled', async () => {
    const all = await made()
    const body = await reader(all, 'payments', { heeds: false })
    const epoch = all.authority.stopNow(PAYMENTS)
    for (let other = 0; other < 1500; other += 1) all.authority.stopNow(EMAIL)
    body.finish()
    await body.ended
    expect(all.stream.told.at(-1)).toBe(`settled ${epoch}: finished`)
  })

  test('stops that all wait are remembered up to a bound, the newest of them for sure', async () => {
    const all = await made()
    const body = await reader(all, 'payments', { heeds: false })
    for (let stop = 0; stop < 1001; stop += 1) all.authority.stopNow(PAYMENTS)
    body.finish()
    await body.ended
    const settled = all.stream.acks.filter(({ phase }) => phase === 'settled').map(({ epoch }) => epoch)
    expect(settled).toHaveLength(1000)
    expect(settled.at(-1)).toBe(all.authority.epoch)
  })

  test('the same stop twice is acknowledged once', async () => {
    const all = await made()
    const body = await reader(all, 'payments')
    const epoch = all.authority.stopNow(PAYMENTS)
    all.stream.push(epoch, [PAYMENTS])
    await body.ended
    all.stream.push(epoch, [PAYMENTS])
    expect(all.stream.told).toEqual([`received ${epoch}: 1 running`, `settled ${epoch}: aborted`])
  })

  test('two stops that found the same body are both acknowledged for it', async () => {
    const all = await made()
    const body = await reader(all, 'payments', { heeds: false })
    const [first, second] = [all.authority.stopNow(PAYMENTS), all.authority.stopNow(SERVER)]
    body.finish()
    await body.ended
    expect(all.stream.told).toEqual([
      `received ${first}: 1 running`,
      `received ${second}: 1 running`,
      `settled ${first}: finished`,
      `settled ${second}: finished`,
    ])
  })

  test('a stop that is remembered keeps nothing alive of what it found', async () => {
    const all = await made()
    const signal = new WeakRef((await stoppedReader(all)).signal)
    await expect.poll(() => (collectGarbage(), signal.deref() === undefined)).toBe(true)
  })

  test('what ends during a shutdown is told before the stream is closed', async () => {
    const all = await made()
    const body = await reader(all, 'payments', { heeds: false })
    const epoch = all.authority.stopNow(PAYMENTS)
    const closing = all.guard.close()
    expect(all.stream.closed).toBe(false)
    body.finish()
    await closing
    expect(all.stream.told.at(-1)).toBe(`settled ${epoch}: finished`)
    expect(all.stream).toMatchObject({ closed: true, left: true })
  })

  test('a body that outlives a shutdown: it does not say that it leaves, so that no stop is confirmed without it', async () => {
    const all = await made()
    const body = await reader(all, 'payments', { heeds: false })
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const closing = all.guard.close({ graceMs: 10 })
    await vi.runAllTimersAsync()
    expect(await closing).toBe(false)
    expect(all.stream).toMatchObject({ closed: true, left: false })
    body.finish()
  })
})

describe('the stream', () => {
  test('is opened by an allowed start, for every device, after the epoch of that allow', async () => {
    const { guard, stream, authority } = await made()
    expect(stream.options).toMatchObject({
      deviceIds: [SERVER, PAYMENTS, EMAIL],
      afterEpoch: authority.epoch,
    })
    expect(guard.stopStream).toMatchObject({ up: true, replica: 'test/1' })
  })

  test('is not opened by a denied start, and once by one that is allowed later', async () => {
    const { guard, authority } = testGuard()
    authority.stop(SERVER)
    await guard.start()
    expect([guard.stopStream, authority.stream]).toEqual([undefined, undefined])
    authority.restore(SERVER)
    await guard.start()
    const { stream } = authority
    expect(stream).toBeDefined()
    await guard.start()
    expect(authority.stream).toBe(stream)
  })

  test('there is none where answers carry no epoch, or the authority pushes none', async () => {
    const none = testGuard()
    none.authority.openStops = undefined
    await none.guard.start()
    expect(none.guard.stopStream).toBeUndefined()
    const hosted = testGuard()
    hosted.authority.next(({ deviceIds }) => ({
      answered: true,
      decisions: deviceIds.map((deviceId) => ({ deviceId, allowed: true, epoch: undefined })),
      requestId: 'req-1',
      orgId: undefined,
      orgEpoch: undefined,
      sentAt: hosted.clock.now(),
    }))
    expect((await hosted.guard.start()).allowed).toBe(true)
    expect(hosted.authority.stream).toBeUndefined()
  })
})

describe('guard.watch', () => {
  test('tells once when a stop is about what was allowed, and not of other stops', async () => {
    const { guard, authority, stream, at } = await made()
    const checked = await guard.check(at('payments'))
    if (!checked.allowed) throw new Error(checked.decision.code)
    let told = 0
    guard.watch(checked.decision, () => (told += 1))
    authority.stopNow(EMAIL)
    expect(told).toBe(0)
    authority.stopNow(PAYMENTS)
    stream.push((authority.epoch += 1))
    expect(told).toBe(1)
  })

  test('tells at once when the stop has come already', async () => {
    const { guard, authority, at } = await made()
    const checked = await guard.check(at('payments'))
    if (!checked.allowed) throw new Error(checked.decision.code)
    authority.stopNow(SERVER)
    let told = 0
    guard.watch(checked.decision, () => (told += 1))
    expect(told).toBe(1)
  })

  test('tells also of a stop that is known already, for a device that it had not named', async () => {
    const { guard, authority, stream, at } = await made()
    const checked = await guard.check(at('payments'))
    if (!checked.allowed) throw new Error(checked.decision.code)
    let told = 0
    guard.watch(checked.decision, () => (told += 1))
    const epoch = authority.stopNow(EMAIL)
    stream.push(epoch, [PAYMENTS])
    expect(told).toBe(1)
  })

  test('tells nobody who has stopped watching, and a listener that throws changes nothing', async () => {
    const all = await made()
    const body = await reader(all, 'payments')
    const checked = await all.guard.check(all.at('payments'))
    if (!checked.allowed) throw new Error(checked.decision.code)
    let told = 0
    all.guard.watch(checked.decision, () => (told += 1))()
    all.guard.watch(checked.decision, () => {
      throw new Error('a listener')
    })
    const epoch = all.authority.stopNow(PAYMENTS)
    expect([told, body.signal.aborted]).toEqual([0, true])
    await body.ended
    expect(all.stream.told.at(-1)).toBe(`settled ${epoch}: aborted`)
  })
})

describe('guard.presence', () => {
  test('counts calls in flight on each device, and how long questions took', async () => {
    const all = await made()
    expect(all.guard.presence()).toMatchObject({ timeoutMs: 2000, latencyMs: { p50: 0, p99: 0 } })
    all.authority.beforeAnswer = () => all.clock.advance(40)
    const bodies = [await reader(all, 'payments'), await reader(all, 'payments'), await reader(all, 'email')]
    expect(all.guard.presence()).toEqual({
      devices: [
        { deviceId: SERVER, inFlight: 3 },
        { deviceId: PAYMENTS, inFlight: 2 },
        { deviceId: EMAIL, inFlight: 1 },
      ],
      timeoutMs: 2000,
      latencyMs: { p50: 40, p99: 40 },
    })
    for (const body of bodies) body.finish()
    await Promise.all(bodies.map(({ ended }) => ended))
    expect(all.guard.presence().devices.map(({ inFlight }) => inFlight)).toEqual([0, 0, 0])
  })
})
