// Signals of the process, such as that of its shutdown, must not keep what has ended: a body or an effect that listens to
// its own signal would stay in memory for as long as they live.
import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test, vi } from 'vitest'
import { defineEffect, type EffectContext, type EffectOptions } from '../../src/guard/effect.ts'
import type { AnyEffect } from '../../src/guard/effect-run.ts'
import { forwardAborts } from '../../src/guard/forward-aborts.ts'
import { reconcileUnknown } from '../../src/guard/settle-unknown.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const CALLS = 20
const newFile = temporaryFiles('forwarded-aborts')
const listenersOf = (signal: AbortSignal) => getEventListeners(signal, 'abort').length
const lost = new Error('socket hang up')

/** A caller that lives as long as the process, and an effect; both are listened to as clients do. */
async function world(options: Partial<EffectOptions<string, unknown>> = {}, journal = {}) {
  const made = await startedGuard(journal)
  const caller = new AbortController()
  const seen: WeakRef<AbortSignal>[] = []
  const listen = (signal: AbortSignal, onAbort = () => {}) => {
    seen.push(new WeakRef(signal))
    signal.addEventListener('abort', onAbort)
  }
  const write = defineEffect<string, unknown>({
    kind: 'write',
    name: 'write',
    key: (input) => input,
    onStop: 'abort',
    run: (_input, { signal }) => listen(signal),
    ...options,
  })
  const request = { surface: made.guard.surface('payments'), tool: 'write', signal: caller.signal }
  const call = (callId: string) =>
    made.guard.call({ ...request, callId }, async (active) => {
      listen(active.signal)
      await active.enter('part', ({ signal }) => listen(signal))
      return active.commit(write, callId)
    })
  const longLived = () => [caller.signal, made.guard.shutdownSignal].map(listenersOf)
  return { ...made, caller, write: write as AnyEffect, call, listen, seen, longLived }
}

async function callOften(call: (callId: string) => Promise<unknown>) {
  for (let at = 0; at < CALLS; at++) await call(`call_${at}`)
}

test.each<[string, Partial<EffectOptions<string, unknown>>]>([
  ['are done', {}],
  ['commit together with their outcome', { transactional: true }],
])('calls whose effects %s leave nothing on signals that live longer', async (_what, options) => {
  const { call, seen, longLived } = await world(options, {
    journal: createSqliteJournal({ file: newFile() }),
  })
  const during = vi.fn(longLived)
  await callOften(async (callId) => {
    expect(await call(callId)).toMatchObject({ ok: true })
    during()
  })
  expect(during.mock.results.map(({ value }) => value)).toEqual(Array(CALLS).fill([0, 0]))
  expect(seen).toHaveLength(3 * CALLS)
  await collectGarbage()
  // The last one may still be held by the stack.
  expect(seen.slice(0, -3).filter((ref) => ref.deref() !== undefined)).toEqual([])
})

test('nor do effects that fail, that are reconciled, and bodies that throw', async () => {
  const { guard, call, listen, seen, write, longLived } = await world({
    run: (_input, { signal }) => {
      listen(signal)
      throw lost
    },
    reconcile: async (_input, { signal }) => {
      listen(signal)
      return { state: 'unknown' }
    },
  })
  await callOften(call)
  await callOften(call)
  for (const entry of await guard.journal.listUnknown()) await reconcileUnknown(guard, entry, write, 'olga')
  await callOften(() =>
    guard
      .run({ surface: guard.surface('payments'), boundary: 'tool' }, ({ signal }) => {
        listen(signal)
        throw lost
      })
      .catch(() => undefined),
  )
  expect(longLived()).toEqual([0, 0])
  // Body and part, with the effect, with reconcile; reconcile for an operator; the bodies that throw.
  expect(seen).toHaveLength(8 * CALLS)
  await collectGarbage()
  expect(seen.slice(0, -1).filter((ref) => ref.deref() !== undefined)).toEqual([])
})

test('an effect that is denied leaves nothing either', async () => {
  const { authority, call, longLived } = await world()
  authority.beforeAnswer = ({ boundary }) =>
    void (boundary === 'side_effect' && authority.stop('openai-agent:test:payments:01'))
  expect(await call('call_1')).toMatchObject({ ok: false, refusal: { code: 'DEVICE_REVOKED' } })
  expect(longLived()).toEqual([0, 0])
})

test('what outlives its call is reached until it has ended', async () => {
  const gate = Promise.withResolvers<void>()
  const contexts: EffectContext[] = []
  const { call, longLived } = await world({
    deadlineMs: 20,
    run: (_input, context) => {
      contexts.push(context)
      return gate.promise
    },
  })
  expect(await call('call_1')).toMatchObject({ ok: false, refusal: { code: 'OUTCOME_UNKNOWN' } })
  // The effect from the shutdown; its part in the call from the caller.
  expect(longLived()).toEqual([1, 1])
  gate.resolve()
  await vi.waitFor(() => expect(longLived()).toEqual([0, 0]))
  expect(contexts[0]?.signal.aborted).toBe(true)
})

test('a body is reached by its caller while it runs, with the reason', async () => {
  const { guard, caller } = await world()
  const begun = Promise.withResolvers<AbortSignal>()
  const gate = Promise.withResolvers<void>()
  const running = guard.run(
    { surface: guard.surface('payments'), boundary: 'tool', signal: caller.signal },
    ({ signal }) => {
      begun.resolve(signal)
      return gate.promise
    },
  )
  const signal = await begun.promise
  expect(signal.aborted).toBe(false)
  const reason = new Error('The caller gave up.')
  caller.abort(reason)
  expect([signal.aborted, signal.reason]).toEqual([true, reason])
  gate.resolve()
  await running
})

test('a caller that gave up before: the body is aborted from its first line', async () => {
  const { guard } = await world()
  const reason = new Error('The caller gave up.')
  const signal = await guard.track(AbortSignal.abort(reason), (work) => work.signal)
  expect([signal.aborted, signal.reason]).toEqual([true, reason])
})

test('what is unlinked is not aborted any more', () => {
  const [own, source] = [new AbortController(), new AbortController()]
  const unlink = forwardAborts(own, [source.signal, new AbortController().signal])
  unlink()
  unlink()
  source.abort()
  expect(own.signal.aborted).toBe(false)
})

/** Several times, with timers between, since what Node holds weakly it lets go of in turns. */
async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc')
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve))
    runInNewContext('gc()')
  }
}
