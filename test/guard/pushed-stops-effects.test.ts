import { afterEach, describe, expect, test, vi } from 'vitest'

import type { ActiveCall } from '../../src/guard/call.ts'
import { defineEffect, EffectNotPerformed, type EffectContext } from '../../src/guard/effect.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import type { ScriptedStopStream } from '../fixtures/scripted-authority.ts'
import { EMAIL, PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'

afterEach(() => vi.useRealTimers())

interface Plan {
  readonly onStop?: 'finish' | 'abort'
  /** Where the effect sits, when not on `payments` as its tool. */
  readonly surface?: string
  readonly deadlineMs?: number
  /** What the body does with the committed effect. */
  readonly body?: (call: ActiveCall, commit: () => Promise<unknown>) => Promise<unknown>
}

/** A payments tool whose effect has begun, and waits for the test to end it. */
async function inEffect({ onStop = 'finish', surface, deadlineMs, body }: Plan = {}) {
  const { guard, authority } = await startedGuard()
  const begun = Promise.withResolvers<EffectContext>()
  const end = Promise.withResolvers<string>()
  const effect = defineEffect<object, string>({
    kind: 'email',
    name: 'receipt',
    key: 'each-call',
    onStop,
    ...(surface === undefined ? {} : { surface }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    run: (_, context) => {
      begun.resolve(context)
      context.signal.addEventListener('abort', () => {
        if (onStop === 'abort') end.reject(new EffectNotPerformed('aborted'))
      })
      return end.promise
    },
  })
  let bodySignal: AbortSignal | undefined
  const outcome = guard.call(
    { surface: guard.surface('payments'), tool: 'pay', callId: 'call_1', runId: 'run_1' },
    (call) => {
      bodySignal = call.signal
      const commit = () => call.commit(effect, {})
      return body === undefined ? commit() : body(call, commit)
    },
  )
  const { signal } = await begun.promise
  const stream = authority.stream as ScriptedStopStream
  const aborted = () => ({ body: bodySignal?.aborted, effect: signal.aborted })
  return { guard, authority, stream, aborted, outcome, finish: () => end.resolve('sent'), fail: end.reject }
}

describe('an effect in flight when its tool is stopped', () => {
  test('finishes by default: the call is told as one, finished', async () => {
    const { authority, stream, aborted, outcome, finish } = await inEffect()
    const epoch = authority.stopNow(PAYMENTS)
    expect(aborted()).toEqual({ body: true, effect: false })
    expect(stream.told).toEqual([`received ${epoch}: 1 running`])
    finish()
    expect(await outcome).toMatchObject({ ok: true, value: { result: 'sent' } })
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: finished`)
  })

  test('is told finished also where the body gives up at once: the money has moved', async () => {
    const { authority, stream, outcome, finish } = await inEffect({
      body: (call, commit) => {
        void commit()
        const { promise, reject } = Promise.withResolvers<never>()
        call.signal.addEventListener('abort', () => reject(new Error('given up')))
        return promise
      },
    })
    const epoch = authority.stopNow(PAYMENTS)
    await Promise.resolve()
    expect(stream.told).toEqual([`received ${epoch}: 1 running`])
    finish()
    expect(await outcome).toMatchObject({ ok: false, executed: true })
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: finished`)
  })

  test("is aborted with onStop: 'abort', and told aborted when it surely did not happen", async () => {
    const { authority, stream, aborted, outcome } = await inEffect({ onStop: 'abort' })
    const epoch = authority.stopNow(PAYMENTS)
    expect(aborted()).toEqual({ body: true, effect: true })
    expect(await outcome).toMatchObject({ ok: false, executed: false })
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: aborted`)
  })

  test('that was over before is no less done: the call that then breaks off is told finished', async () => {
    const paid = Promise.withResolvers<void>()
    const { authority, stream, outcome, finish } = await inEffect({
      body: async (call, commit) => {
        await commit()
        paid.resolve()
        await new Promise((_, reject) =>
          call.signal.addEventListener('abort', () => reject(new Error('gave up'))),
        )
      },
    })
    finish()
    await paid.promise
    const epoch = authority.stopNow(PAYMENTS)
    expect(await outcome).toMatchObject({ ok: false, executed: true })
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: finished`)
  })

  test('whose outcome nobody can tell is told unknown', async () => {
    const { authority, stream, outcome, fail } = await inEffect()
    const epoch = authority.stopNow(PAYMENTS)
    fail(new Error('the line went dead'))
    expect(await outcome).toMatchObject({ ok: false, executed: 'unknown' })
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: unknown`)
  })

  test('that outlives its deadline settles the stop only when it has truly ended', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    const { guard, authority, stream, outcome, finish } = await inEffect({ deadlineMs: 50 })
    const epoch = authority.stopNow(PAYMENTS)
    await vi.advanceTimersByTimeAsync(50)
    expect(await outcome).toMatchObject({ ok: false, executed: 'unknown' })
    expect([guard.inFlight, stream.told]).toEqual([0, [`received ${epoch}: 1 running`]])
    expect(guard.presence().devices).toContainEqual({ deviceId: PAYMENTS, inFlight: 1 })
    finish()
    await vi.advanceTimersByTimeAsync(0)
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: unknown`)
  })

  test('that outlives its deadline and a shutdown too: the process does not say that it leaves', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    const { guard, stream, outcome, finish } = await inEffect({ deadlineMs: 50 })
    await vi.advanceTimersByTimeAsync(50)
    await outcome
    expect(await guard.close()).toBe(false)
    expect(stream).toMatchObject({ closed: true, left: false })
    finish()
  })

  test('no further effect of that call starts: STOP_PUSHED where its answer was overtaken', async () => {
    const { guard, authority, stream, at } = await callWithTwo()
    const outcome = await at('payments', () => authority.stop(PAYMENTS))
    expect(outcome).toMatchObject({ ok: false, refusal: { code: 'STOP_PUSHED', boundary: 'side_effect' } })
    expect(stream.told.at(-1)).toBe(`settled ${authority.epoch}: aborted`)
    await guard.close()
  })
})

/** The stop is pushed while the answer to the effect's own question is on its way. */
async function callWithTwo() {
  const { guard, authority } = await startedGuard()
  const stream = authority.stream as ScriptedStopStream
  const write = defineEffect({ kind: 'write', name: 'write', key: 'each-call', run: () => 'written' })
  const at = (surface: string, stop: () => void) =>
    guard.call({ surface: guard.surface(surface), tool: 'write', callId: 'c' }, (call) => {
      authority.next(({ deviceIds }) => {
        const orgEpoch = authority.epoch
        const decisions = deviceIds.map((deviceId) => ({ deviceId, allowed: true as const, epoch: 1 }))
        stop()
        stream.push(authority.epoch, [PAYMENTS])
        const sentAt = { monotonicMs: 1000, wallMs: 1_700_000_000_000 }
        return { answered: true, decisions, requestId: 'req', orgId: 'o_test', orgEpoch, sentAt }
      })
      return call.commit(write, {})
    })
  return { guard, authority, stream, at }
}

describe('an effect on another surface than its tool', () => {
  test('finishes by default when its own surface is stopped, and is told; the body goes on', async () => {
    const { authority, stream, aborted, outcome, finish } = await inEffect({ surface: 'email' })
    const epoch = authority.stopNow(EMAIL)
    expect(aborted()).toEqual({ body: false, effect: false })
    expect(stream.told).toEqual([`received ${epoch}: 1 running`])
    finish()
    expect(await outcome).toMatchObject({ ok: true })
    expect(stream.acks.at(-1)).toEqual({
      epoch,
      phase: 'settled',
      running: 0,
      calls: [{ callId: 'call_1', runId: 'run_1', tool: 'pay', end: 'finished' }],
    })
  })

  test("is aborted by a stop of its own surface with onStop: 'abort', its body is not", async () => {
    const { authority, stream, aborted, outcome } = await inEffect({ surface: 'email', onStop: 'abort' })
    const epoch = authority.stopNow(EMAIL)
    expect(aborted()).toEqual({ body: false, effect: true })
    await outcome
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: aborted`)
  })

  test("is aborted by a stop of its tool's surface with onStop: 'abort', as its body is", async () => {
    const { authority, stream, aborted, outcome } = await inEffect({ surface: 'email', onStop: 'abort' })
    const epoch = authority.stopNow(PAYMENTS)
    expect(aborted()).toEqual({ body: true, effect: true })
    await outcome
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: aborted`)
  })

  test('past its deadline settles a stop of its tool only when it has truly ended', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    const { authority, stream, outcome, finish } = await inEffect({ surface: 'email', deadlineMs: 50 })
    const epoch = authority.stopNow(PAYMENTS)
    await vi.advanceTimersByTimeAsync(50)
    await outcome
    expect(stream.told).toEqual([`received ${epoch}: 1 running`])
    finish()
    await vi.advanceTimersByTimeAsync(0)
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: unknown`)
  })

  test('is settled when it has ended, while its body still runs', async () => {
    const rest = Promise.withResolvers<void>()
    const { authority, stream, outcome, finish } = await inEffect({
      surface: 'email',
      body: async (_, commit) => {
        await commit()
        await rest.promise
      },
    })
    const epoch = authority.stopNow(EMAIL)
    finish()
    await vi.waitFor(() => expect(stream.told.at(-1)).toBe(`settled ${epoch}: finished`))
    rest.resolve()
    await outcome
  })

  test('counts in presence for its surface, and not twice for its call', async () => {
    const { guard, outcome, finish } = await inEffect({ surface: 'email' })
    expect(guard.presence().devices).toEqual([
      { deviceId: SERVER, inFlight: 1 },
      { deviceId: PAYMENTS, inFlight: 1 },
      { deviceId: EMAIL, inFlight: 1 },
    ])
    expect(guard.inFlight).toBe(1)
    finish()
    await outcome
    expect(guard.presence().devices.every(({ inFlight }) => inFlight === 0)).toBe(true)
  })

  test('is not hit itself by a stop of its tool alone, and ends with its body', async () => {
    const { authority, stream, aborted, outcome, finish } = await inEffect({ surface: 'email' })
    const epoch = authority.stopNow(PAYMENTS)
    expect(aborted()).toEqual({ body: true, effect: false })
    finish()
    await outcome
    expect(stream.told.at(-1)).toBe(`settled ${epoch}: finished`)
  })
})

test('a stopped call is told unknown also for an effect on a surface that was not stopped', async () => {
  const { authority, stream, outcome, fail } = await inEffect({ surface: 'email' })
  const epoch = authority.stopNow(PAYMENTS)
  fail(new Error('the line went dead'))
  await outcome
  expect(stream.told.at(-1)).toBe(`settled ${epoch}: unknown`)
})

describe('G6: an effect that was allowed after a restore', () => {
  test('is not touched by a late stop that ends its body', async () => {
    const { authority, stream, aborted, outcome, finish } = await inEffectAfterRestore()
    const epoch = authority.epoch - 1
    stream.push(epoch, [SERVER])
    expect(aborted()).toEqual({ body: true, effect: false })
    finish()
    expect(await outcome).toMatchObject({ ok: true })
    expect(stream.told).toEqual([`received ${epoch}: 1 running`, `settled ${epoch}: finished`])
  })

  test('is not touched by the late stop of its surface', async () => {
    const { authority, stream, aborted, outcome, finish } = await inEffectAfterRestore()
    stream.push(authority.epoch - 1, [EMAIL])
    expect(aborted()).toEqual({ body: false, effect: false })
    finish()
    expect(await outcome).toMatchObject({ ok: true })
    const epoch = authority.epoch - 1
    expect(stream.told).toEqual([`received ${epoch}: 0 running`, `settled ${epoch}: `])
  })
})

async function inEffectAfterRestore() {
  const { guard, authority } = await startedGuard({ journal: createMemoryJournal() })
  const begun = Promise.withResolvers<AbortSignal>()
  const end = Promise.withResolvers<void>()
  const effect = defineEffect<object, void>({
    kind: 'email',
    name: 'mail',
    key: 'each-call',
    surface: 'email',
    onStop: 'abort',
    run: (_, { signal }) => (begun.resolve(signal), end.promise),
  })
  let bodySignal: AbortSignal | undefined
  const outcome = guard.call({ surface: guard.surface('payments'), tool: 'pay', callId: 'c' }, (call) => {
    bodySignal = call.signal
    authority.stop(EMAIL)
    authority.restore(EMAIL)
    return call.commit(effect, {})
  })
  const signal = await begun.promise
  const aborted = () => ({ body: bodySignal?.aborted, effect: signal.aborted })
  return { authority, stream: authority.stream as ScriptedStopStream, aborted, outcome, finish: end.resolve }
}
