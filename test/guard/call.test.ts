import { describe, expect, test, vi } from 'vitest'
import type { ActiveCall } from '../../src/guard/call.ts'
import { defineEffect, EffectNotPerformed } from '../../src/guard/effect.ts'
import { EMAIL, PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'

/** A sink that counts, and an effect on it keyed by invoice. */
function bank() {
  const charges: { invoice: string; idempotencyKey: string }[] = []
  const charge = defineEffect({
    kind: 'payment',
    name: 'charge',
    key: (input: { invoice: string }) => input.invoice,
    run: (input, { idempotencyKey }) => {
      charges.push({ invoice: input.invoice, idempotencyKey })
      return { receipt: `r-${input.invoice}` }
    },
  })
  return { charges, charge }
}

async function paymentsGuard() {
  const made = await startedGuard()
  const request = { surface: made.guard.surface('payments'), tool: 'pay', callId: 'call_1', runId: 'run_1' }
  return { ...made, ...bank(), request }
}

describe('the two hold points', () => {
  test('one before the body, one right before the effect, each with a question of its own', async () => {
    const { guard, authority, request, charge, charges } = await paymentsGuard()
    const outcome = await guard.call(request, (call) => call.commit(charge, { invoice: 'INV-1' }))
    expect(outcome).toMatchObject({ ok: true, replayed: false, effects: [{ name: 'charge', state: 'done' }] })
    expect(authority.boundaries).toEqual(['startup', 'tool', 'side_effect'])
    expect(charges).toHaveLength(1)
  })

  test('denied at the first: the body does not start', async () => {
    const { guard, authority, request } = await paymentsGuard()
    authority.stop(PAYMENTS)
    const body = vi.fn()
    const outcome = await guard.call(request, body)
    expect(body).not.toHaveBeenCalled()
    expect(outcome).toMatchObject({
      ok: false,
      executed: false,
      effects: [],
      refusal: {
        error: 'permission_denied',
        code: 'DEVICE_REVOKED',
        boundary: 'tool',
        deviceId: PAYMENTS,
        requestId: 'req-2',
      },
    })
  })

  test('G1: revoked between the two: the body ran, the effect does not', async () => {
    const { guard, authority, request, charge, charges } = await paymentsGuard()
    const outcome = await guard.call(request, (call) => {
      authority.stop(PAYMENTS)
      return call.commit(charge, { invoice: 'INV-1' })
    })
    expect(charges).toEqual([])
    expect(outcome).toMatchObject({
      ok: false,
      executed: false,
      effects: [{ name: 'charge', state: 'denied' }],
      refusal: { code: 'DEVICE_REVOKED', boundary: 'side_effect', deviceId: PAYMENTS },
    })
  })

  test('an effect on another surface asks for that one; the first effect stays done and is told', async () => {
    const { guard, authority, request, charge, charges } = await paymentsGuard()
    const receipt = defineEffect({
      kind: 'email',
      name: 'receipt',
      surface: 'email',
      key: 'each-call',
      run: () => 'sent',
    })
    authority.stop(EMAIL)
    const outcome = await guard.call(request, async (call) => {
      await call.commit(charge, { invoice: 'INV-1' })
      await call.commit(receipt, {})
    })
    expect(authority.questions.map((question) => question.deviceIds)).toEqual([
      [SERVER],
      [SERVER, PAYMENTS],
      [SERVER, PAYMENTS],
      [SERVER, EMAIL],
    ])
    expect(charges).toHaveLength(1)
    expect(outcome).toMatchObject({
      ok: false,
      executed: true,
      effects: [
        { name: 'charge', state: 'done' },
        { name: 'receipt', state: 'denied' },
      ],
      refusal: { deviceId: EMAIL, boundary: 'side_effect' },
    })
  })

  test('an effect on an undeclared surface is GUARD_MISCONFIGURED and does not run', async () => {
    const { guard, request } = await paymentsGuard()
    const run = vi.fn()
    const odd = defineEffect({ kind: 'write', name: 'odd', surface: 'nowhere', key: 'each-call', run })
    const outcome = await guard.call(request, (call) => call.commit(odd, {}))
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'GUARD_MISCONFIGURED' } })
    expect(run).not.toHaveBeenCalled()
  })
})

describe('C5: a denial is sticky within a call', () => {
  test("the author's try/catch cannot hide it, and no later effect runs although it would be allowed", async () => {
    const { guard, authority, request, charge, charges } = await paymentsGuard()
    const outcome = await guard.call(request, async (call) => {
      authority.stop(PAYMENTS)
      await call.commit(charge, { invoice: 'INV-1' }).catch(() => 'swallowed')
      authority.restore(PAYMENTS)
      await call.commit(charge, { invoice: 'INV-2' }).catch(() => 'swallowed')
      return 'all is well'
    })
    expect(charges).toEqual([])
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'DEVICE_REVOKED' } })
  })

  test('the next call is asked for on its own', async () => {
    const { guard, authority, request, charge } = await paymentsGuard()
    authority.stop(PAYMENTS)
    await guard.call(request, (call) => call.commit(charge, { invoice: 'INV-1' }))
    authority.restore(PAYMENTS)
    const outcome = await guard.call(request, (call) => call.commit(charge, { invoice: 'INV-1' }))
    expect(outcome.ok).toBe(true)
  })
})

describe('C6: no commit after the body has settled', () => {
  test('a commit called later is LATE_COMMIT without a question', async () => {
    const { guard, authority, request, charge, charges } = await paymentsGuard()
    let kept: ActiveCall | undefined
    await guard.call(request, (call) => void (kept = call))
    const asked = authority.questions.length
    await expect(kept?.commit(charge, { invoice: 'INV-1' })).rejects.toMatchObject({ code: 'LATE_COMMIT' })
    expect(authority.questions).toHaveLength(asked)
    expect(charges).toEqual([])
  })

  test('a commit that nobody awaited, allowed too late, is LATE_COMMIT and makes the call one', async () => {
    const { guard, authority, request, charge, charges } = await paymentsGuard()
    const gate = Promise.withResolvers<void>()
    authority.beforeAnswer = (question) => (question.boundary === 'side_effect' ? gate.promise : undefined)
    const outcome = guard.call(request, (call) => {
      void call.commit(charge, { invoice: 'INV-1' })
      return 'paid'
    })
    setImmediate(gate.resolve)
    expect(await outcome).toMatchObject({
      ok: false,
      refusal: { code: 'LATE_COMMIT' },
      effects: [{ state: 'denied' }],
    })
    expect(charges).toEqual([])
  })

  test('an effect that had started is awaited before the call ends', async () => {
    const { guard, request } = await paymentsGuard()
    const gate = Promise.withResolvers<string>()
    const slow = defineEffect({ kind: 'write', name: 'slow', key: 'each-call', run: () => gate.promise })
    const outcome = guard.call(request, async (call) => {
      void call.commit(slow, {})
      await vi.waitFor(async () => expect(guard.inFlight).toBe(1))
      await new Promise((resolve) => setImmediate(resolve))
      return 'returned early'
    })
    setTimeout(() => gate.resolve('written'), 20)
    expect(await outcome).toMatchObject({
      ok: true,
      value: 'returned early',
      effects: [{ name: 'slow', state: 'done' }],
    })
  })
})

describe('what the author throws', () => {
  test('an error is tool_failed; its text goes to the log, never into the refusal', async () => {
    const { guard, request, lines } = await paymentsGuard()
    const outcome = await guard.call(request, () => {
      throw new Error('connect postgres://user:secret@db failed')
    })
    expect(outcome).toMatchObject({
      ok: false,
      executed: false,
      refusal: { error: 'tool_failed', code: 'TOOL_FAILED' },
    })
    expect(JSON.stringify(outcome)).not.toContain('secret')
    expect(lines.at(-1)).toMatchObject({ level: 'error', err: 'connect postgres://user:secret@db failed' })
  })

  test('EffectNotPerformed is told with its own words, and frees the key', async () => {
    const { guard, request } = await paymentsGuard()
    const results = [
      () => Promise.reject(new EffectNotPerformed('The card was declined.')),
      () => Promise.resolve('paid'),
    ]
    const charge = defineEffect({
      kind: 'payment',
      name: 'charge',
      key: () => 'INV-1',
      run: () => results.shift()?.(),
    })
    const declined = await guard.call(request, (call) => call.commit(charge, {}))
    expect(declined).toMatchObject({
      ok: false,
      executed: false,
      effects: [{ state: 'failed' }],
      refusal: { error: 'tool_failed', code: 'EFFECT_NOT_PERFORMED', message: 'The card was declined.' },
    })
    const paid = await guard.call({ ...request, callId: 'call_2' }, (call) => call.commit(charge, {}))
    expect(paid).toMatchObject({ ok: true, replayed: false, value: { result: 'paid' } })
  })

  test('an author may catch EffectNotPerformed and go on: it is no denial', async () => {
    const { guard, request } = await paymentsGuard()
    const declined = defineEffect({
      kind: 'payment',
      name: 'charge',
      key: () => 'INV-1',
      run: () => {
        throw new EffectNotPerformed('declined')
      },
    })
    const outcome = await guard.call(request, (call) =>
      call.commit(declined, {}).catch(() => 'told the customer'),
    )
    expect(outcome).toMatchObject({
      ok: true,
      value: 'told the customer',
      effects: [{ name: 'charge', state: 'failed' }],
    })
  })
})

describe('ending', () => {
  test('the caller gives up while the side_effect question is out: CALL_ABORTED, nothing runs', async () => {
    const { guard, authority, request, charge, charges } = await paymentsGuard()
    const caller = new AbortController()
    authority.beforeAnswer = (question) => (question.boundary === 'side_effect' ? caller.abort() : undefined)
    const outcome = await guard.call({ ...request, signal: caller.signal }, (call) =>
      call.commit(charge, { invoice: 'INV-1' }),
    )
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'CALL_ABORTED', boundary: 'side_effect' } })
    expect(charges).toEqual([])
  })

  test.each([
    ['abort', true],
    ['finish', false],
  ] as const)(
    'the caller gives up while an effect runs: with onStop %s its signal is aborted: %s',
    async (onStop, is) => {
      const { guard, request } = await paymentsGuard()
      const caller = new AbortController()
      let aborted: boolean | undefined
      const effect = defineEffect({
        kind: 'write',
        name: 'write',
        key: 'each-call',
        onStop,
        run: (_input: object, { signal }) => {
          caller.abort()
          aborted = signal.aborted
        },
      })
      await guard.call({ ...request, signal: caller.signal }, (call) => call.commit(effect, {}))
      expect(aborted).toBe(is)
    },
  )

  test('a shutdown denies new boundaries, signals running bodies, waits for them, and answers that all ended', async () => {
    const { guard, request, charge, charges } = await paymentsGuard()
    const seen: string[] = []
    const started = Promise.withResolvers<void>()
    const running = guard.call(request, async (call) => {
      started.resolve()
      await new Promise((resolve) => call.signal.addEventListener('abort', resolve))
      seen.push('signalled')
      await call.commit(charge, { invoice: 'INV-1' })
    })
    await started.promise
    const closing = guard.close({ graceMs: 5000 })
    expect(await guard.call(request, () => 'ran')).toMatchObject({
      ok: false,
      refusal: { code: 'GUARD_SHUTTING_DOWN', error: 'permission_check_unavailable' },
    })
    expect(await running).toMatchObject({
      ok: false,
      refusal: { code: 'GUARD_SHUTTING_DOWN', boundary: 'side_effect' },
    })
    expect(await closing).toBe(true)
    expect(seen).toEqual(['signalled'])
    expect(charges).toEqual([])
  })

  test('an effect that has started finishes within the grace time; after it its signal is aborted', async () => {
    const { guard, request } = await paymentsGuard()
    const gate = Promise.withResolvers<string>()
    const started = Promise.withResolvers<void>()
    const signals: boolean[] = []
    const finishing = defineEffect({
      kind: 'payment',
      name: 'finishing',
      key: 'each-call',
      run: async (_input, { signal }) => {
        started.resolve()
        setTimeout(() => gate.resolve('paid'), 20)
        const result = await gate.promise
        signals.push(signal.aborted)
        return result
      },
    })
    const stubborn = defineEffect({
      kind: 'write',
      name: 'stubborn',
      key: 'each-call',
      run: (_input, { signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new Error('aborted'))),
        ),
    })
    const paying = guard.call(request, (call) => call.commit(finishing, {}))
    const writing = guard.call({ ...request, callId: 'call_2' }, (call) => call.commit(stubborn, {}))
    await started.promise
    await new Promise((resolve) => setImmediate(resolve))
    expect(await guard.close({ graceMs: 60 })).toBe(true)
    expect(await paying).toMatchObject({ ok: true, value: { result: 'paid' } })
    expect(signals).toEqual([false])
    expect(await writing).toMatchObject({
      ok: false,
      executed: 'unknown',
      refusal: { error: 'outcome_unknown' },
    })
  })
})

test('whoever holds an effect cannot run it past its hold point: its code is no member', () => {
  const run = vi.fn(() => 'sent')
  const effect = defineEffect({
    kind: 'email',
    name: 'mail',
    key: 'each-call',
    run,
    reconcile: async () => ({ state: 'absent' }),
  })
  expect(Object.values(effect).filter((value) => typeof value === 'function')).toEqual([])
  // @ts-expect-error -- nor is it one that types know
  expect(effect.run).toBeUndefined()
  // @ts-expect-error -- nor this
  expect(effect.reconcile).toBeUndefined()
  expect(run).not.toHaveBeenCalled()
})
