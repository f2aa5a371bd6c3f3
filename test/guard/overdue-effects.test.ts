import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'

import { defineEffect, type EffectOptions } from '../../src/guard/effect.ts'
import { LEASE_MS, type AnyEffect } from '../../src/guard/effect-run.ts'
import type { Journal } from '../../src/guard/journal.ts'
import { reconcileUnknown, settleUnknown } from '../../src/guard/settle-unknown.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import type { ToolStore } from '../../src/store/tool-store.ts'
import { startedGuard, type TestGuard } from '../fixtures/guard.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('overdue-effects')
const DEADLINE_MS = 20
const SAID = { by: 'olga', reason: 'The bank shows nothing.' }
let nowMs: number
let here: ToolStore
let there: ToolStore

beforeEach(() => {
  nowMs = 1_700_000_000_000
  const file = newFile()
  here = createSqliteToolStore({ file, nowMs: () => nowMs })
  there = createSqliteToolStore({ file, nowMs: () => nowMs })
})
afterEach(async () => {
  await here.close()
  await there.close()
})

/** Two replicas with one payment, which outlives its deadline on the first of them and ends with `gate`. */
async function overdue(options: Partial<EffectOptions<string, unknown>> = {}, journal = here.journal) {
  const gate = Promise.withResolvers<string>()
  const run = vi.fn().mockReturnValueOnce(gate.promise).mockReturnValue('sent again')
  const reconcile = vi.fn(async () => ({ state: 'absent' as const }))
  const charge = defineEffect<string, unknown>({
    kind: 'payment',
    name: 'charge',
    key: (invoice) => invoice,
    deadlineMs: DEADLINE_MS,
    reconcile,
    ...options,
    run,
  })
  const first = await startedGuard({ journal, timeoutMs: 100 })
  const second = await startedGuard({ journal: there.journal, timeoutMs: 100 })
  const payOn = ({ guard }: TestGuard, callId = 'call_2') => {
    const surface = guard.surface('payments')
    return guard.call({ surface, tool: 'pay', callId, runId: 'run_1', caller: 'alice' }, (call) =>
      call.commit(charge, 'INV-1'),
    )
  }
  const entry = async () => {
    const [one] = await there.journal.listUnknown()
    if (one === undefined) throw new Error('nothing is unknown')
    return one
  }
  const states = async () =>
    (await there.journal.listRun({ caller: 'alice', runId: 'run_1' })).map(({ state }) => state)
  const begin = async () => expect(await payOn(first, 'call_1')).toMatchObject({ executed: 'unknown' })
  return { gate, run, reconcile, charge: charge as AnyEffect, first, second, payOn, entry, states, begin }
}

const errorsIn = ({ lines }: TestGuard) => lines.filter(({ level }) => level === 50 || level === 'error')

describe('an effect that is past its deadline, and still on its way', () => {
  test('is not repeated on another replica, and the sink is not asked about it: it is in progress', async () => {
    const { gate, run, reconcile, second, payOn, states, begin } = await overdue()
    await begin()
    expect(await payOn(second)).toMatchObject({
      ok: false,
      executed: 'unknown',
      refusal: { code: 'EFFECT_IN_PROGRESS' },
    })
    expect(reconcile).not.toHaveBeenCalled()
    gate.resolve('paid')
    await vi.waitFor(async () => expect(await states()).toEqual(['done']))
    expect(await payOn(second)).toMatchObject({ ok: true, replayed: true, value: { result: 'paid' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('also not where the sink would repeat nothing: two requests at once under one key', async () => {
    const { run, second, payOn, begin } = await overdue({ sinkKeyTtlMs: 2 * LEASE_MS })
    await begin()
    expect(await payOn(second)).toMatchObject({ ok: false, refusal: { code: 'EFFECT_IN_PROGRESS' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test.each(['first', 'second'] as const)(
    'is neither reconciled nor settled by an operator, on the %s replica',
    async (which) => {
      const { gate, reconcile, charge, entry, states, begin, ...replicas } = await overdue()
      await begin()
      const { guard } = replicas[which]
      const running = { settled: false, why: 'running' }
      expect(await reconcileUnknown(guard, await entry(), charge, 'olga')).toEqual(running)
      expect(await settleUnknown(guard, (await entry()).key, { state: 'failed' }, SAID)).toEqual(running)
      expect(reconcile).not.toHaveBeenCalled()
      gate.resolve('paid')
      await vi.waitFor(async () => expect(await states()).toEqual(['done']))
      expect(errorsIn(replicas.first)).toEqual([])
    },
  )

  test('shows signs of life for as long as it runs, and is anybody’s as soon as it has ended', async () => {
    vi.useFakeTimers({
      toFake: ['setInterval', 'setTimeout', 'clearInterval', 'clearTimeout', 'performance'],
    })
    onTestFinished(() => void vi.useRealTimers())
    const { gate, charge, second, entry, begin } = await overdue()
    const beginning = begin()
    await vi.advanceTimersByTimeAsync(DEADLINE_MS)
    await beginning
    const resolved = async () =>
      (await reconcileUnknown(second.guard, await entry(), charge, 'olga')) as { why?: string }
    for (let passed = 0; passed < 10 * LEASE_MS; passed += LEASE_MS / 3) {
      nowMs += LEASE_MS / 3
      await vi.advanceTimersByTimeAsync(LEASE_MS / 3)
      expect((await resolved()).why).toBe('running')
    }
    gate.reject(new Error('socket hang up'))
    await vi.advanceTimersByTimeAsync(0)
    expect(await resolved()).toEqual({ settled: true, state: 'failed' })
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a sign of life that fails once is not the last one', async () => {
    vi.useFakeTimers({
      toFake: ['setInterval', 'setTimeout', 'clearInterval', 'clearTimeout', 'performance'],
    })
    onTestFinished(() => void vi.useRealTimers())
    let renewals = 0
    const flaky: Journal = {
      ...here.journal,
      renew: (...given) => {
        renewals += 1
        return renewals === 1 ? Promise.reject(new Error('database is locked')) : here.journal.renew(...given)
      },
    }
    const { charge, second, entry, begin } = await overdue({}, flaky)
    const beginning = begin()
    await vi.advanceTimersByTimeAsync(DEADLINE_MS)
    await beginning
    for (let passed = 0; passed < 2 * LEASE_MS; passed += LEASE_MS / 3) {
      nowMs += LEASE_MS / 3
      await vi.advanceTimersByTimeAsync(LEASE_MS / 3)
    }
    const running = { settled: false, why: 'running' }
    expect(await reconcileUnknown(second.guard, await entry(), charge, 'olga')).toEqual(running)
  })

  test('not even a clock that jumps frees it on the replica that runs it', async () => {
    const { run, reconcile, charge, first, payOn, entry, begin } = await overdue()
    await begin()
    nowMs += LEASE_MS
    const running = { settled: false, why: 'running' }
    expect(await reconcileUnknown(first.guard, await entry(), charge, 'olga')).toEqual(running)
    expect(await settleUnknown(first.guard, (await entry()).key, { state: 'failed' }, SAID)).toEqual(running)
    expect(await payOn(first)).toMatchObject({ ok: false, refusal: { code: 'EFFECT_IN_PROGRESS' } })
    expect(reconcile).not.toHaveBeenCalled()
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('is anybody’s a lease after its process died', async () => {
    const { run, second, payOn, begin } = await overdue()
    await begin()
    nowMs += LEASE_MS
    expect(await payOn(second)).toMatchObject({ ok: true, value: { result: 'sent again' } })
    expect(run).toHaveBeenCalledTimes(2)
  })
})

describe('an effect that was given up as lost, and is performed after all', () => {
  test('overrules the operator who said that it failed: an error, a line for the operators, and no repeat', async () => {
    const { gate, run, first, second, payOn, entry, states, begin } = await overdue()
    await begin()
    nowMs += LEASE_MS
    const { key } = await entry()
    expect(await settleUnknown(second.guard, key, { state: 'failed' }, SAID)).toMatchObject({ settled: true })
    gate.resolve('paid')
    await vi.waitFor(async () => expect(await states()).toEqual(['done']))
    await vi.waitFor(() => expect(errorsIn(first)).toMatchObject([{ effect: 'charge', run_id: 'run_1' }]))
    expect(errorsIn(first)[0]?.['msg']).toMatch(/operator had settled it as failed/)
    expect(await here.runs.operatorLog({ runId: 'run_1', limit: 9 })).toMatchObject([
      { action: 'effect.overrule', by: 'effect', reason: expect.stringMatching(/performed after all/) },
      { action: 'effect.settle', by: 'olga' },
    ])
    expect(await payOn(second)).toMatchObject({ ok: true, replayed: true, value: { result: 'paid' } })
    expect(run).toHaveBeenCalledTimes(1)
  })

  test('is told as an error when it has been repeated since', async () => {
    const { gate, first, second, payOn, begin } = await overdue()
    await begin()
    nowMs += LEASE_MS
    await payOn(second)
    gate.resolve('paid')
    await vi.waitFor(() => expect(errorsIn(first)).toHaveLength(1))
    expect(errorsIn(first)[0]).toMatchObject({
      msg: expect.stringMatching(/another attempt or outcome/),
      idempotency_key: expect.stringMatching(/^hp_/),
    })
  })
})
