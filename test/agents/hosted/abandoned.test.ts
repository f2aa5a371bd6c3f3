// What heeds no signal holds up nobody: 30 s after it was told to end, a run ends without it.

import { Agent } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool } from 'holdpoint'
import type { RunStore } from '../../../src/agents/hosted/run-store.ts'
import { done, gate, refundCall, scripted } from '../helpers.ts'
import { ann, cashierWorld, hostedWorld } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }

async function stuck(at: 'tool' | 'model' | 'effect') {
  const entered = gate()
  const go = gate()
  const stay = () => {
    entered.resolve()
    return go.promise
  }
  const did: string[] = []
  const world = await hostedWorld({
    maxConcurrentRuns: 1,
    agents: (guard) => {
      const parameters = z.object({})
      const surface = guard.surface('payments')
      const hang = guardedTool(surface, {
        name: 'hang',
        description: 'Hang',
        parameters,
        effects: 'none',
        execute: async () => (await stay(), 'late'),
      })
      const pay = guardedTool(surface, {
        name: 'pay',
        description: 'Pay',
        parameters,
        effect: 'payment',
        key: 'each-call',
        prepare: stay,
        commit: () => void did.push('paid'),
      })
      const model = new ScriptedModel([
        [functionCall(at === 'effect' ? 'pay' : 'hang', {}, { callId: 'c1' })],
        done,
      ])
      if (at === 'model') {
        model.getStreamedResponse = async function* () {
          await stay()
          yield* []
        }
      }
      return [
        { agent: new Agent({ name: 'cashier', model, tools: [hang, pay] }) },
        { agent: scripted([], [done], { name: 'other' }).agent },
      ]
    },
  })
  const ended = world.runs.start(ann, start)
  await entered.promise
  return { ...world, ended, go, did }
}

test.each(['tool', 'model', 'effect'] as const)(
  'cancelled while a %s hangs: after 30 s it is cancelled, its place is free, and nothing of it counts later',
  async (at) => {
    const { runs, fire, ended, go, did } = await stuck(at)
    const cancelling = runs.cancel(ann, 'run_1')
    await expect.poll(() => runs.show(ann, 'run_1')).toMatchObject({ cancelling: true })
    await expect(runs.start(ann, { agent: 'other', input: 'go' })).rejects.toMatchObject({
      code: 'RUNS_OVERLOADED',
    })
    fire(30_000)
    expect(await ended).toMatchObject({ status: 'cancelled', resumable: false })
    expect(await cancelling).toMatchObject({ status: 'cancelled' })
    expect(await runs.start(ann, { agent: 'other', input: 'go' })).toMatchObject({ status: 'completed' })
    const before = await runs.show(ann, 'run_1')
    go.resolve()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(did).toEqual([])
    const { status, output, version } = { ...(await runs.show(ann, 'run_1')), version: before.changedAt }
    expect({ status, output, version }).toEqual({
      status: 'cancelled',
      output: undefined,
      version: before.changedAt,
    })
  },
)

test.each(['tool', 'model'] as const)(
  'a shutdown while a %s hangs: closing waits as long as it was told to, and the run is given back',
  async (at) => {
    const { runs, guard, ended, store } = await stuck(at)
    await guard.close({ graceMs: 20 })
    await runs.close({ graceMs: 20 })
    expect(await ended).toMatchObject({ status: 'failed', error: { code: 'RUN_LOST' } })
    expect(await store.runs.find('run_1')).toMatchObject({ status: 'failed' })
  },
)

test('a run that another process has is abandoned here too: nothing of it is saved', async () => {
  const { runs, fire, ended, store, time, go } = await stuck('tool')
  time.ms += 60_001
  await store.runs.sweepLost()
  fire(20_000)
  let code: unknown
  ended.catch((error: { code: string }) => (code = error.code))
  await expect.poll(() => (fire(30_000), code)).toBe('RUN_BUSY')
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'failed', error: { code: 'RUN_LOST' } })
  go.resolve()
})

test('one that ends in time is not abandoned', async () => {
  const started = gate()
  const finish = gate()
  const { runs, bank, fire } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
  })
  bank.before = () => {
    started.resolve()
    return finish.promise
  }
  const ended = runs.start(ann, start)
  await started.promise
  const cancelling = runs.cancel(ann, 'run_1')
  finish.resolve()
  expect(await ended).toMatchObject({ status: 'cancelled' })
  expect(await cancelling).toMatchObject({ status: 'cancelled' })
  fire(30_000)
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'cancelled', effects: [{ state: 'done' }] })
})

test('one that is being saved when its time is up is not abandoned: what was saved counts', async () => {
  const saving = gate()
  const stored = gate()
  const { agent, replica, store, fire } = await cashierWorld([done])
  const slow = async (...[token, what]: Parameters<RunStore['save']>) => {
    saving.resolve()
    await stored.promise
    return store.runs.save(token, what)
  }
  const runs = replica([{ agent }], { store: { ...store.runs, save: slow } })
  const ended = runs.start(ann, start)
  await saving.promise
  const cancelling = runs.cancel(ann, 'run_1')
  await expect.poll(() => runs.show(ann, 'run_1')).toMatchObject({ cancelling: true })
  fire(30_000)
  await new Promise((resolve) => setTimeout(resolve, 20))
  stored.resolve()
  expect(await ended).toMatchObject({ status: 'completed', output: 'done' })
  expect(await cancelling).toMatchObject({ status: 'completed' })
})
