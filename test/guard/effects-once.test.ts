import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import type { CallOutcome } from '../../src/guard/call.ts'
import type { Committed } from '../../src/guard/commit.ts'
import { defineEffect, notSent, type EffectOptions } from '../../src/guard/effect.ts'
import { LEASE_MS } from '../../src/guard/effect-run.ts'
import type { Journal } from '../../src/guard/journal.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { startedGuard } from '../fixtures/guard.ts'

type Input = { invoice: string; cents: number }
const INPUT: Input = { invoice: 'INV-1', cents: 100 }

interface Attempt {
  readonly callId?: string
  readonly runId?: string
  readonly caller?: string
  readonly input?: Input
}

/** A guard, a journal with a clock of its own, and one payment effect; `pay` is one call that commits it. */
async function shop(effect: Partial<EffectOptions<Input, unknown>> = {}, journal?: Journal) {
  let nowMs = 1_000_000
  const made = await startedGuard({
    journal: journal ?? createMemoryJournal({ nowMs: () => nowMs }),
    timeoutMs: 100,
  })
  const run = vi.fn(effect.run ?? ((input: Input) => ({ receipt: `r-${input.invoice}` })))
  const charge = defineEffect<Input, unknown>({
    kind: 'payment',
    name: 'charge',
    key: (input) => input.invoice,
    ...effect,
    run,
  })
  const pay = ({
    callId = 'call_1',
    runId = 'run_1',
    caller = 'alice',
    input = INPUT,
  }: Attempt = {}): Promise<CallOutcome<Committed<unknown>>> =>
    made.guard.call({ surface: made.guard.surface('payments'), tool: 'pay', callId, runId, caller }, (call) =>
      call.commit(charge, input),
    )
  return { ...made, run, pay, advance: (ms: number) => void (nowMs += ms) }
}

describe('C3: a key that is done is replayed', () => {
  test('the same business key from another run and call: one effect, the stored result, marked to author and log', async () => {
    const { pay, run, lines, authority } = await shop()
    const first = await pay()
    const again = await pay({ callId: 'call_9', runId: 'run_2' })
    expect(run).toHaveBeenCalledTimes(1)
    expect(first).toMatchObject({
      ok: true,
      replayed: false,
      value: { result: { receipt: 'r-INV-1' }, replayed: false },
    })
    expect(again).toMatchObject({
      ok: true,
      replayed: true,
      value: { result: { receipt: 'r-INV-1' }, replayed: true },
      effects: [{ state: 'replayed' }],
    })
    expect(lines.at(-1)).toMatchObject({ msg: 'effect replayed', replayed: true, call_id: 'call_9' })
    expect(authority.boundaries).toEqual(['startup', 'tool', 'side_effect', 'tool'])
  })

  test('the same key with other arguments is a conflict', async () => {
    const { pay, run } = await shop()
    await pay()
    expect(await pay({ input: { invoice: 'INV-1', cents: 200 } })).toMatchObject({
      ok: false,
      executed: false,
      refusal: { error: 'effect_key_conflict', code: 'EFFECT_KEY_CONFLICT' },
    })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('another caller with the same ids and key does not get it', async () => {
    const { pay, run } = await shop()
    await pay({ caller: 'alice' })
    expect(await pay({ caller: 'mallory' })).toMatchObject({ ok: true, replayed: false })
    expect(run).toHaveBeenCalledTimes(2)
  })

  test("'each-call': the same run, call and ordinal is a repeat, another call or run is not", async () => {
    const { pay, run } = await shop({ key: 'each-call' })
    await pay()
    expect(await pay()).toMatchObject({ replayed: true })
    await pay({ callId: 'call_2' })
    await pay({ runId: 'run_2' })
    expect(run).toHaveBeenCalledTimes(3)
  })

  test("'each-call' twice within one call are two effects", async () => {
    const { guard } = await shop()
    const run = vi.fn(() => 'sent')
    const mail = defineEffect({ kind: 'email', name: 'mail', key: 'each-call', run })
    const request = { surface: guard.surface('email'), tool: 'mail', callId: 'call_1' }
    const twice = () =>
      guard.call(request, async (call) => [await call.commit(mail, 'a'), await call.commit(mail, 'a')])
    await twice()
    expect(await twice()).toMatchObject({
      ok: true,
      replayed: true,
      effects: [{ state: 'replayed' }, { state: 'replayed' }],
    })
    expect(run).toHaveBeenCalledTimes(2)
  })

  test("an 'each-call' payment on a transport that brings no call id is refused before anything is stored", async () => {
    const { guard } = await shop()
    const run = vi.fn()
    const charge = defineEffect({ kind: 'payment', name: 'bare', key: 'each-call', run })
    const outcome = await guard.call({ surface: guard.surface('payments'), tool: 'pay' }, (call) =>
      call.commit(charge, {}),
    )
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'CALL_ID_REQUIRED' } })
    expect(run).not.toHaveBeenCalled()
  })

  test('the idempotency key is the same on every attempt and differs between keys', async () => {
    const keys: string[] = []
    const { pay, advance } = await shop({
      sinkKeyTtlMs: 1_000_000,
      deadlineMs: 1000,
      run: (_input, { idempotencyKey }) => {
        keys.push(idempotencyKey)
        throw new Error('connection lost')
      },
    })
    await pay()
    advance(1)
    await pay({ callId: 'call_2' })
    await pay({ input: { invoice: 'INV-2', cents: 1 } })
    expect(keys[0]).toMatch(/^hp_[0-9a-f]{40}$/)
    expect(keys[1]).toBe(keys[0])
    expect(keys[2]).not.toBe(keys[0])
  })

  test.each([
    ['is empty', () => ''],
    ['is not a string', () => 7 as never],
    ['throws', () => (undefined as never as { x: string }).x],
  ])('a business key that %s is GUARD_MISCONFIGURED and nothing runs', async (_name, key) => {
    const { pay, run } = await shop({ key })
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'GUARD_MISCONFIGURED' } })
    expect(run).not.toHaveBeenCalled()
  })
})

describe('C1: the intent is durable before the question', () => {
  test('when the question goes out the journal holds the intent', async () => {
    const journal = createMemoryJournal()
    const events: string[] = []
    const spied: Journal = {
      ...journal,
      begin: async (...args) => {
        const begun = await journal.begin(...args)
        events.push(`intent ${begun.state}`)
        return begun
      },
      settle: async (token, outcome) => {
        events.push(`outcome ${outcome.state}`)
        return journal.settle(token, outcome)
      },
    }
    const { pay, authority } = await shop({ run: () => events.push('effect') }, spied)
    authority.beforeAnswer = (question) => void events.push(`question ${question.boundary}`)
    await pay()
    expect(events).toEqual([
      'question tool',
      'intent begun',
      'question side_effect',
      'effect',
      'outcome done',
    ])
  })

  test('a journal that fails denies JOURNAL_UNAVAILABLE: no question, no effect', async () => {
    const broken: Journal = { ...createMemoryJournal(), begin: () => Promise.reject(new Error('disk full')) }
    const { pay, run, authority } = await shop({}, broken)
    expect(await pay()).toMatchObject({
      ok: false,
      refusal: { code: 'JOURNAL_UNAVAILABLE', error: 'permission_check_unavailable' },
    })
    expect(run).not.toHaveBeenCalled()
    expect(authority.boundaries).toEqual(['startup', 'tool'])
  })

  test('a denied effect frees its key', async () => {
    const { pay, run, authority, guard } = await shop()
    const [, payments] = guard.surface('payments').deviceIds as [string, string]
    authority.beforeAnswer = (question) =>
      question.boundary === 'side_effect' ? authority.stop(payments) : undefined
    expect(await pay()).toMatchObject({ ok: false, refusal: { code: 'DEVICE_REVOKED' } })
    authority.beforeAnswer = () => {}
    authority.restore(payments)
    expect(await pay()).toMatchObject({ ok: true, replayed: false })
    expect(run).toHaveBeenCalledTimes(1)
  })
})

describe('C4: an unknown outcome is never repeated blindly', () => {
  const lost = () => {
    throw new Error('socket hang up')
  }

  test('whatever else the effect throws leaves it unknown, told as such, listed, and not run again', async () => {
    const { pay, run, guard } = await shop({ run: lost })
    expect(await pay()).toMatchObject({
      ok: false,
      executed: 'unknown',
      refusal: { error: 'outcome_unknown', code: 'OUTCOME_UNKNOWN' },
    })
    expect(await pay({ callId: 'call_2' })).toMatchObject({
      ok: false,
      refusal: { error: 'outcome_unknown' },
    })
    expect(run).toHaveBeenCalledTimes(1)
    expect(await guard.journal.listUnknown()).toMatchObject([
      { effect: 'charge', state: 'unknown', callId: 'call_1' },
    ])
  })

  test('an effect that outlives its deadline is unknown and its signal aborted; what it says later still counts', async () => {
    const gate = Promise.withResolvers<string>()
    let aborted = false
    const { pay, run } = await shop({
      deadlineMs: 20,
      run: async (_input, { signal }) => {
        signal.addEventListener('abort', () => (aborted = true))
        return gate.promise
      },
    })
    expect(await pay()).toMatchObject({ ok: false, executed: 'unknown' })
    expect(aborted).toBe(true)
    gate.resolve('paid after all')
    await vi.waitFor(async () =>
      expect(await pay()).toMatchObject({ ok: true, replayed: true, value: { result: 'paid after all' } }),
    )
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('reconcile is asked only then: done gives the result, and nothing runs', async () => {
    const reconcile = vi.fn(async () => ({ state: 'done' as const, result: 'found at the bank' }))
    const { pay, run } = await shop({ run: lost, reconcile })
    await pay()
    expect(reconcile).not.toHaveBeenCalled()
    expect(await pay()).toMatchObject({ ok: true, replayed: true, value: { result: 'found at the bank' } })
    expect(await pay()).toMatchObject({ ok: true, replayed: true })
    expect(reconcile).toHaveBeenCalledTimes(1)
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('reconcile absent: it runs again, after a fresh question', async () => {
    const runs = [lost, () => 'paid']
    const { pay, authority } = await shop({
      run: () => runs.shift()?.(),
      reconcile: async () => ({ state: 'absent' }),
    })
    await pay()
    const asked = authority.boundaries.length
    expect(await pay()).toMatchObject({ ok: true, replayed: false, value: { result: 'paid' } })
    expect(authority.boundaries.slice(asked)).toEqual(['tool', 'side_effect'])
  })

  test.each([
    ['says unknown', async () => ({ state: 'unknown' as const })],
    ['throws', () => Promise.reject(new Error('bank is closed'))],
    ['never answers', () => new Promise<never>(() => {})],
  ])('reconcile that %s leaves it unknown', async (_name, reconcile) => {
    const { pay, run } = await shop({ run: lost, reconcile, deadlineMs: 100 })
    await pay()
    expect(await pay()).toMatchObject({ ok: false, refusal: { error: 'outcome_unknown' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('while the sink honours the key it may be sent again, until a lease before that ends; later never', async () => {
    const { pay, run, advance } = await shop({ run: lost, sinkKeyTtlMs: LEASE_MS + 10_000 })
    await pay()
    advance(9_999)
    await pay()
    expect(run).toHaveBeenCalledTimes(2)
    advance(1)
    expect(await pay()).toMatchObject({ ok: false, refusal: { error: 'outcome_unknown' } })
    expect(run).toHaveBeenCalledTimes(2)
  })

  test('an operator settles it: done replays, failed frees the key', async () => {
    const { pay, run, guard } = await shop({ run: lost })
    await pay()
    const [entry] = await guard.journal.listUnknown()
    await guard.journal.resolveUnknown(entry?.key ?? '', { state: 'done', result: '"by hand"' })
    expect(await pay()).toMatchObject({ ok: true, replayed: true, value: { result: 'by hand' } })
    expect(run).toHaveBeenCalledTimes(1)
  })
})

describe('two callers at once', () => {
  test('while the owner lives the second waits for its outcome', async () => {
    const gate = Promise.withResolvers<string>()
    const { pay, run } = await shop({ run: () => gate.promise })
    const both = [pay(), pay({ callId: 'call_2' })]
    await vi.waitFor(() => expect(run).toHaveBeenCalled())
    gate.resolve('paid')
    const outcomes = await Promise.all(both)
    expect(outcomes.map((outcome) => outcome.ok && outcome.replayed).toSorted()).toEqual([false, true])
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('past its own budget it is told in_progress', async () => {
    const gate = Promise.withResolvers<string>()
    const { pay, run } = await shop({ run: () => gate.promise })
    const first = pay()
    await vi.waitFor(() => expect(run).toHaveBeenCalled())
    expect(await pay({ callId: 'call_2' })).toMatchObject({
      ok: false,
      refusal: { error: 'in_progress', code: 'EFFECT_IN_PROGRESS' },
    })
    gate.resolve('paid')
    expect((await first).ok).toBe(true)
    expect(run).toHaveBeenCalledTimes(1)
  })
})

describe('notSent: a connection that failed before anything was sent', () => {
  const withCode = (code: string) => Object.assign(new Error(code), { code })
  test.each([
    ['refused', withCode('ECONNREFUSED'), true],
    ['no such host', withCode('ENOTFOUND'), true],
    ['an expired certificate', withCode('CERT_HAS_EXPIRED'), true],
    ['a TLS alert', withCode('ERR_SSL_TLSV1_ALERT'), true],
    ['wrapped by fetch', new TypeError('fetch failed', { cause: withCode('ECONNREFUSED') }), true],
    ['every address refused', new AggregateError([withCode('ECONNREFUSED'), withCode('EHOSTUNREACH')]), true],
    [
      'one address refused, another reset',
      new AggregateError([withCode('ECONNREFUSED'), withCode('ECONNRESET')]),
      false,
    ],
    ['reset', withCode('ECONNRESET'), false],
    ['a timeout while waiting', withCode('UND_ERR_HEADERS_TIMEOUT'), false],
    ['not an error', 'ECONNREFUSED', false],
  ])('%s', (_name, error, expected) => expect(notSent(error)).toBe(expected))

  test('it counts as not performed and frees the key', async () => {
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    closed.close()
    const refused = () => fetch(`http://127.0.0.1:${port}`).then(() => 'paid')
    const { pay, run } = await shop({ run: refused })
    expect(await pay()).toMatchObject({
      ok: false,
      executed: false,
      refusal: { code: 'EFFECT_NOT_PERFORMED' },
    })
    await pay()
    expect(run).toHaveBeenCalledTimes(2)
  })
})
