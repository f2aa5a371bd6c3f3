// What a careful reader found by trying to break it: each of these once paid twice, hid an outcome or ended the process.
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ActiveCall } from '../../src/guard/call.ts'
import { defineEffect, EffectNotPerformed, type Effect, type EffectOptions } from '../../src/guard/effect.ts'
import { LEASE_MS } from '../../src/guard/effect-run.ts'
import type { Journal } from '../../src/guard/journal.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { PAYMENTS, SERVER, startedGuard, type TestGuard } from '../fixtures/guard.ts'

type Input = { invoice: string; cents: number }
type Charge = Effect<Input, unknown>
const INPUT: Input = { invoice: 'INV-1', cents: 100 }
const DAYS_MS = 3 * 24 * 3_600_000
const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
const lost = new Error('socket hang up')

function callOn(
  { guard }: TestGuard,
  charge: Charge,
  body?: (call: ActiveCall, charge: Charge) => unknown,
  callId = 'call_1',
) {
  return guard.call({ surface: guard.surface('payments'), tool: 'pay', callId, runId: 'run_1' }, (call) =>
    body === undefined ? call.commit(charge, INPUT) : body(call, charge),
  )
}

async function shop(options: Partial<EffectOptions<Input, unknown>>) {
  let nowMs = 1_000_000
  const journal = createMemoryJournal({ nowMs: () => nowMs })
  const made = await startedGuard({ journal, timeoutMs: 100 })
  const charge = defineEffect<Input, unknown>({
    kind: 'payment',
    name: 'charge',
    key: ({ invoice }) => invoice,
    run: () => ({}),
    ...options,
  })
  const pay = (body?: (call: ActiveCall, charge: Charge) => unknown) => callOn(made, charge, body)
  return { ...made, journal, charge, pay, advance: (ms: number) => void (nowMs += ms) }
}

describe('C4: a repeat that did not happen says nothing about the attempt before it', () => {
  test('denied: still unknown, days later and after a restore', async () => {
    const run = vi.fn().mockRejectedValueOnce(lost).mockResolvedValue('paid')
    const { pay, authority, advance } = await shop({ run, sinkKeyTtlMs: 2 * LEASE_MS })
    await pay()
    let stopped = false
    authority.beforeAnswer = ({ boundary }) => {
      if (boundary === 'side_effect' && !stopped) authority.stop(PAYMENTS)
      stopped ||= boundary === 'side_effect'
    }
    expect(await pay()).toMatchObject({ ok: false, executed: 'unknown', refusal: { code: 'DEVICE_REVOKED' } })
    authority.restore(PAYMENTS)
    advance(DAYS_MS)
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('not sent: still unknown, and other arguments are still a conflict', async () => {
    const run = vi.fn().mockRejectedValueOnce(lost).mockRejectedValueOnce(refused).mockResolvedValue('paid')
    const { pay, advance } = await shop({ run, sinkKeyTtlMs: 2 * LEASE_MS })
    await pay()
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
    advance(DAYS_MS)
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
    const other = await pay((call, charge) => call.commit(charge, { invoice: 'INV-1', cents: 999 }))
    expect(other).toMatchObject({ ok: false, refusal: { code: 'EFFECT_KEY_CONFLICT' } })
    expect(run).toHaveBeenCalledTimes(2)
  })

  test('refused by the sink itself: the key is free', async () => {
    const declined = new EffectNotPerformed('declined')
    const run = vi.fn().mockRejectedValueOnce(lost).mockRejectedValueOnce(declined).mockResolvedValue('paid')
    const { pay } = await shop({ run, sinkKeyTtlMs: 2 * LEASE_MS })
    await pay()
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'EFFECT_NOT_PERFORMED' } })
    expect(await pay()).toMatchObject({ ok: true, replayed: false })
  })

  test('the start of the repeat counts, not when it was asked for: a slow answer does not lead past sinkKeyTtlMs', async () => {
    const run = vi.fn().mockRejectedValueOnce(lost).mockResolvedValue('paid')
    const { pay, authority, clock, advance } = await shop({ run, sinkKeyTtlMs: 2 * LEASE_MS })
    await pay()
    advance(2 * LEASE_MS - 5)
    authority.beforeAnswer = ({ boundary }) => void (boundary === 'side_effect' && clock.advance(1500))
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('nor does a journal that was slow to tell how old the first attempt is', async () => {
    const run = vi.fn().mockRejectedValueOnce(lost).mockResolvedValue('paid')
    const made = await shop({ run, sinkKeyTtlMs: 2 * LEASE_MS })
    await made.pay()
    const begin = made.journal.begin.bind(made.journal)
    vi.spyOn(made.journal, 'begin').mockImplementation(async (intent, options) => {
      const begun = await begin(intent, options)
      if (options.retakeUnknown !== true) made.clock.advance(LEASE_MS)
      return begun
    })
    expect(await made.pay()).toMatchObject({ ok: false, refusal: { code: 'PERMIT_EXPIRED' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('a store whose clock was set back is past sinkKeyTtlMs, not within it', async () => {
    const run = vi.fn().mockRejectedValueOnce(lost).mockResolvedValue('paid')
    const { pay, advance } = await shop({ run, sinkKeyTtlMs: 1000 })
    await pay()
    advance(-3_600_000)
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('while an effect that outlived its deadline still runs, reconcile is not asked', async () => {
    const gate = Promise.withResolvers<string>()
    const reconcile = vi.fn(async () => ({ state: 'absent' as const }))
    const { pay } = await shop({ run: () => gate.promise, deadlineMs: 30, reconcile })
    await pay()
    expect(await pay()).toMatchObject({
      ok: false,
      executed: 'unknown',
      refusal: { code: 'EFFECT_IN_PROGRESS' },
    })
    expect(reconcile).not.toHaveBeenCalled()
    gate.resolve('paid')
    await vi.waitFor(async () => expect(await pay()).toMatchObject({ ok: true, replayed: true }))
  })
})

describe('what a sink or a body may throw', () => {
  const noPrototype = () => Object.create(null) as Error
  test.each([
    [
      'an Error whose message is an object',
      () => Object.assign(new Error('x'), { message: { detail: 'timeout' } }),
    ],
    ['an object without a prototype', noPrototype],
    ['undefined', () => undefined],
  ])('%s: outcome unknown, told although the body caught it', async (_name, thrown) => {
    const { pay, journal } = await shop({
      run: () => {
        throw thrown()
      },
    })
    const outcome = await pay((call, charge) => call.commit(charge, INPUT).catch(() => 'paid'))
    expect(outcome).toMatchObject({
      ok: false,
      executed: 'unknown',
      effects: [{ name: 'charge', state: 'unknown' }],
    })
    expect(await journal.listUnknown()).toHaveLength(1)
  })

  test('a body that throws an object without a prototype: call never rejects', async () => {
    const { pay } = await shop({})
    const outcome = await pay(() => {
      throw noPrototype()
    })
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'TOOL_FAILED' } })
  })

  test('a key in an error reaches neither refusal nor log', async () => {
    const { pay, lines } = await shop({
      run: () => {
        throw new EffectNotPerformed('401 for sk-live_abcdefgh12345678')
      },
    })
    expect(JSON.stringify([await pay(), lines])).not.toContain('abcdefgh12345678')
  })
})

describe('C2: what starts is what was stored, and still ours', () => {
  test('E1: a machine suspended after it stored the intent: the effect does not start', async () => {
    let nowMs = 1_000_000
    const shared = createMemoryJournal({ nowMs: () => nowMs })
    const suspended = Promise.withResolvers<void>()
    const slowToReturn: Journal = {
      ...shared,
      begin: async (...args) => {
        const begun = await shared.begin(...args)
        await suspended.promise
        return begun
      },
    }
    const run = vi.fn(() => 'paid')
    const charge: Charge = defineEffect({
      kind: 'payment',
      name: 'charge',
      key: () => 'INV-1',
      run,
      reconcile: async () => ({ state: 'absent' as const }),
    })
    const [a, b] = [
      await startedGuard({ journal: slowToReturn, timeoutMs: 100 }),
      await startedGuard({ journal: shared, timeoutMs: 100 }),
    ]
    const slow = callOn(a, charge)
    await new Promise((resolve) => setImmediate(resolve))
    nowMs += 120_000
    a.clock.advance(120_000)
    expect(await callOn(b, charge)).toMatchObject({ ok: true, replayed: false })
    suspended.resolve()
    expect(await slow).toMatchObject({ ok: false, refusal: { code: 'PERMIT_EXPIRED' } })
    expect(run).toHaveBeenCalledTimes(1)
    expect(await callOn(b, charge)).toMatchObject({ ok: true, replayed: true })
  })

  test('an input that was changed while the question was out does not run', async () => {
    const run = vi.fn(() => 'paid')
    const { pay } = await shop({ run })
    const input = { ...INPUT }
    const outcome = await pay((call, charge) => {
      const committing = call.commit(charge, input)
      input.cents = 1_000_000
      return committing
    })
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'GUARD_MISCONFIGURED' } })
    expect(run).not.toHaveBeenCalled()
  })

  test('C5: of two commits at once, when one is denied the other does not start', async () => {
    const run = vi.fn(() => 'paid')
    const { pay, authority } = await shop({ run })
    let first = true
    authority.beforeAnswer = ({ boundary }) => {
      if (boundary !== 'side_effect') return
      if (first) authority.stop(PAYMENTS)
      else authority.restore(PAYMENTS)
      first = false
    }
    const outcome = await pay(async (call, charge) => {
      await Promise.allSettled([call.commit(charge, INPUT), call.commit(charge, INPUT)])
    })
    expect(outcome).toMatchObject({ ok: false, executed: false })
    expect(run).not.toHaveBeenCalled()
  })

  test('C5: an effect that was allowed while another commit of its call was denied does not start', async () => {
    const run = vi.fn(() => 'paid')
    const { pay, authority } = await shop({ run })
    const denied = Promise.withResolvers<void>()
    let questions = 0
    authority.beforeAnswer = async ({ boundary }) => {
      if (boundary !== 'side_effect') return
      questions += 1
      if (questions === 1) return authority.stop(PAYMENTS)
      await denied.promise
      authority.restore(PAYMENTS)
    }
    const outcome = await pay(async (call, charge) => {
      const first = call.commit(charge, INPUT).catch(() => denied.resolve())
      await Promise.allSettled([first, call.commit(charge, { invoice: 'INV-2', cents: 1 })])
    })
    expect(questions).toBe(2)
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'DEVICE_REVOKED' } })
    expect(run).not.toHaveBeenCalled()
  })

  test('E1: reconcile found nothing, but the intent is no longer ours: it does not run', async () => {
    const run = vi.fn().mockRejectedValueOnce(lost).mockResolvedValue('paid')
    const memory = createMemoryJournal()
    const journal: Journal = { ...memory, renew: async () => false }
    const made = await startedGuard({ journal, timeoutMs: 100 })
    const charge: Charge = defineEffect({
      kind: 'payment',
      name: 'charge',
      key: () => 'INV-1',
      run,
      reconcile: async () => ({ state: 'absent' as const }),
    })
    await callOn(made, charge)
    expect(await callOn(made, charge)).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('E1: an owner whose renewals never answer aborts its effect when the lease is over', async () => {
    vi.useFakeTimers({
      toFake: ['setInterval', 'setTimeout', 'clearInterval', 'clearTimeout', 'performance'],
    })
    onTestFinished(() => void vi.useRealTimers())
    const journal: Journal = { ...createMemoryJournal(), renew: () => new Promise(() => {}) }
    const made = await startedGuard({ journal })
    let signal: AbortSignal | undefined
    const charge: Charge = defineEffect({
      kind: 'payment',
      name: 'charge',
      key: () => 'INV-1',
      deadlineMs: 600_000,
      run: (_input, effect) => {
        signal = effect.signal
        return new Promise((_resolve, reject) => effect.signal.addEventListener('abort', () => reject(lost)))
      },
    })
    const paying = callOn(made, charge)
    await vi.advanceTimersByTimeAsync(59_000)
    expect(signal?.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(2000)
    expect(signal?.aborted).toBe(true)
    expect(await paying).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
  })
})

describe("'each-call'", () => {
  test('declined, tried again within the call, paid: the same call once more is a replay', async () => {
    const run = vi.fn().mockRejectedValueOnce(new EffectNotPerformed('declined')).mockResolvedValue('paid')
    const { pay } = await shop({ run, key: 'each-call' })
    const body = (call: ActiveCall, charge: Charge) =>
      call.commit(charge, INPUT).catch(() => call.commit(charge, INPUT))
    expect(await pay(body)).toMatchObject({ ok: true, replayed: false })
    expect(await pay(body)).toMatchObject({ ok: true, replayed: true })
    expect(run).toHaveBeenCalledTimes(2)
  })

  test('an empty call id is no call id', async () => {
    const made = await shop({ key: 'each-call' })
    expect(await callOn(made, made.charge, undefined, '')).toMatchObject({
      ok: false,
      refusal: { code: 'CALL_ID_REQUIRED' },
    })
  })
})

describe('around the guard', () => {
  test('a listener that throws changes no decision', async () => {
    const made = await startedGuard({
      onServerDenied: () => {
        throw new Error('the pager is down')
      },
    })
    made.guard.observe(() => {
      throw new Error('no tracing today')
    })
    made.authority.stop(SERVER)
    const checked = await made.guard.check({ surface: made.guard.surface('payments'), boundary: 'tool' })
    expect(checked.decision).toMatchObject({ allowed: false, code: 'DEVICE_REVOKED' })
    expect(made.lines.filter((line) => line['msg'] === 'a listener of the guard threw')).toHaveLength(2)
  })

  test('close twice at once closes once', async () => {
    const onClose = vi.fn(async () => {})
    const { guard } = await startedGuard({ onClose })
    await Promise.all([guard.close(), guard.close()])
    expect(onClose).toHaveBeenCalledTimes(1)
  })
})
