import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { defineEffect, type EffectOptions } from '../../src/guard/effect.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import type { ToolStore } from '../../src/store/tool-store.ts'
import { LEASE_MS, runActions } from '../contract/runs.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('fenced-effects')
let nowMs: number
let store: ToolStore

beforeEach(() => {
  nowMs = 1_700_000_000_000
  store = createSqliteToolStore({ file: newFile(), nowMs: () => nowMs })
})
afterEach(() => store.close())

/** `run_1` of alice is claimed; `pay` is one call of it, which charges an invoice. */
async function shop({
  journal = store.journal,
  ...options
}: Partial<EffectOptions<string, unknown>> & { journal?: ToolStore['journal'] } = {}) {
  const token = await runActions(store.runs).created('run_1')
  const made = await startedGuard({ journal })
  const run = vi.fn(options.run ?? (() => 'receipt'))
  const charge = defineEffect<string, unknown>({
    kind: 'payment',
    name: 'charge',
    key: (input) => input,
    ...options,
    run,
  })
  const pay = (invoice = 'INV-1', catching = false) => {
    const fence = { runId: 'run_1', token }
    const surface = made.guard.surface('payments')
    const call = { surface, tool: 'pay', callId: 'call_1', runId: 'run_1', caller: 'alice', fence }
    return made.guard.call(call, async (active) => {
      await active.commit(charge, invoice).catch((thrown) => {
        if (!catching) throw thrown
      })
      if (catching) await active.commit(charge, 'INV-9')
    })
  }
  return { ...made, run, pay, token }
}

const aborted = {
  ok: false,
  executed: false,
  refusal: { code: 'CALL_ABORTED' },
  effects: [{ state: 'denied' }],
}

test('C8: while the claim holds the effects of its run begin', async () => {
  const { pay, run } = await shop()
  expect(await pay()).toMatchObject({ ok: true })
  expect(run).toHaveBeenCalledTimes(1)
})

test('C8: a run that was cancelled performs no further effect: no question, nothing stored', async () => {
  const { pay, run, authority } = await shop()
  await store.runs.cancel('run_1', 'olga', undefined)
  expect(await pay()).toMatchObject(aborted)
  expect(run).not.toHaveBeenCalled()
  expect(authority.boundaries).toEqual(['startup', 'tool'])
  expect(await store.journal.listRun({ caller: 'alice', runId: 'run_1' })).toEqual([])
})

test('C8: a claim whose lease has passed performs no further effect', async () => {
  const { pay, run } = await shop()
  nowMs += LEASE_MS
  expect(await pay()).toMatchObject(aborted)
  expect(run).not.toHaveBeenCalled()
})

test('C5: a body that catches it is refused all the same, and reaches no other effect', async () => {
  const { pay, run } = await shop()
  await store.runs.cancel('run_1', 'olga', undefined)
  expect(await pay('INV-1', true)).toMatchObject(aborted)
  expect(run).not.toHaveBeenCalled()
})

test('C8: a run that was cancelled does not repeat what nobody knows, and it stays unknown', async () => {
  const reconcile = vi.fn(async () => ({ state: 'absent' as const }))
  const lost = () => {
    throw new Error('socket hang up')
  }
  const { pay, run } = await shop({ run: lost, reconcile })
  await pay()
  await store.runs.cancel('run_1', 'olga', undefined)
  expect(await pay()).toMatchObject({ ok: false, executed: 'unknown', refusal: { code: 'CALL_ABORTED' } })
  expect(reconcile).not.toHaveBeenCalled()
  expect(run).toHaveBeenCalledTimes(1)
  expect(await store.journal.listUnknown()).toHaveLength(1)
})

test('C8: cancelled while the sink was asked, it is not sent again', async () => {
  const runs = [
    () => {
      throw new Error('socket hang up')
    },
    () => 'receipt',
  ]
  const { pay, run } = await shop({
    run: () => runs.shift()?.(),
    reconcile: async () => {
      await store.runs.cancel('run_1', 'olga', undefined)
      return { state: 'absent' }
    },
  })
  await pay()
  expect(await pay()).toMatchObject({ ok: false, executed: 'unknown', refusal: { code: 'OUTCOME_UNKNOWN' } })
  expect(run).toHaveBeenCalledTimes(1)
  expect(await store.journal.listUnknown()).toHaveLength(1)
})

test('a journal without runs begins no effect of one', async () => {
  const { pay, run } = await shop({ journal: createMemoryJournal() })
  expect(await pay()).toMatchObject(aborted)
  expect(run).not.toHaveBeenCalled()
})
