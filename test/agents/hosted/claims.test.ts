// Only the holder of the claim does anything: not a process that was taken for dead, nor one whose run was cancelled.

import { Agent, tool } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardedTool } from 'holdpoint'
import type { Guard } from '../../../src/guard/guard.ts'
import { done, gate, refundCall, refundTool, type Bank } from '../helpers.ts'
import { ann, boss, cashierWorld, hostedWorld } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }

/** What the model of a running run does next, once the world has moved on. */
async function whileRunning(
  calls: Parameters<typeof functionCall>[],
  makeTools: (guard: Guard, bank: Bank, act: () => void) => readonly unknown[],
) {
  const acts: string[] = []
  const asked = gate()
  const go = gate()
  const model = new ScriptedModel([calls.map((call) => functionCall(...call)), done])
  const own = model.getStreamedResponse.bind(model)
  let turns = 0
  model.getStreamedResponse = async function* (request) {
    turns += 1
    asked.resolve()
    await go.promise
    yield* own(request)
  }
  const world = await hostedWorld({
    agents: (guard, bank) => {
      const tools = makeTools(guard, bank, () => void acts.push('done')) as never
      const agent = new Agent({ name: 'cashier', model, tools })
      guardAgent(agent, guard.surface('email'))
      return [{ agent }]
    },
  })
  const ended = world.runs.start(ann, start).then(
    ({ status }) => status,
    ({ code }: { code: string }) => code,
  )
  await asked.promise
  return { ...world, acts, ended, go, turns: () => turns }
}

const reading = (guard: Guard, _: Bank, act: () => void) => [
  guardedTool(guard.surface('email'), {
    name: 'call',
    description: 'Look',
    parameters: z.object({}),
    effects: 'none',
    execute: () => (act(), 'seen'),
  }),
]
const foreign = (_: Guard, __: Bank, act: () => void) => [
  tool({ name: 'call', description: 'Theirs', parameters: z.object({}), execute: () => (act(), 'ok') }),
]
const paying = (guard: Guard, _: Bank, act: () => void) => [
  guardedTool(guard.surface('payments'), {
    name: 'call',
    description: 'Pay',
    parameters: z.object({}),
    effect: 'payment',
    key: () => 'INV-1',
    commit: act,
  }),
]
const ONE_CALL: Parameters<typeof functionCall>[] = [['call', {}, { callId: 'c1' }]]

const TOOLS = [
  ['a tool that reads', reading],
  ['a tool of somebody else', foreign],
  ['an effect', paying],
] as const

test.each(TOOLS)('another process has the run: %s does not start', async (_, makeTools) => {
  const { store, time, go, ended, acts, turns } = await whileRunning(ONE_CALL, makeTools)
  time.ms += 60_001
  expect(await store.runs.sweepLost()).toEqual(['run_1'])
  go.resolve()
  expect(await ended).toBe('RUN_BUSY')
  expect(acts).toEqual([])
  expect(turns()).toBe(1)
  expect(await store.runs.find('run_1')).toMatchObject({ status: 'failed', problem: { code: 'RUN_LOST' } })
})

test.each(TOOLS)('cancelled through another replica: %s does not start', async (_, makeTools) => {
  const { store, go, ended, acts, turns } = await whileRunning(ONE_CALL, makeTools)
  expect(await store.runs.cancel('run_1', 'boss', undefined)).toBe('requested')
  go.resolve()
  expect(await ended).toBe('cancelled')
  expect(acts).toEqual([])
  expect(turns()).toBe(1)
})

test.each([
  ['cancelled', 'cancelled'],
  ['taken by another process', 'RUN_BUSY'],
])('%s while a tool runs: the model is not asked again', async (how, expected) => {
  const started = gate()
  const finish = gate()
  const { runs, store, bank, time, model } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
  })
  bank.before = () => {
    started.resolve()
    return finish.promise
  }
  const ended = runs.start(ann, start).then(
    ({ status }) => status,
    ({ code }: { code: string }) => code,
  )
  await started.promise
  if (how === 'cancelled') await store.runs.cancel('run_1', 'boss', undefined)
  else {
    time.ms += 60_001
    await store.runs.sweepLost()
  }
  finish.resolve()
  expect(await ended).toBe(expected)
  expect(model.calls).toHaveLength(1)
})

test('a clock that is set forward: a run that is still at work here is not lost, here', async () => {
  const { runs, time, fire, go, ended, bank } = await whileRunning(
    [['refund', { invoiceId: 'INV-1', refundNo: 1, amountCents: 500 }, { callId: 'c1' }]],
    (guard, bank) => [refundTool(guard, bank)],
  )
  runs.begin()
  time.ms += 60_001
  fire(10_000)
  await expect.poll(() => runs.show(boss, 'run_1')).toMatchObject({ status: 'running' })
  time.ms += 60_001
  const cancelling = runs.cancel(ann, 'run_1')
  go.resolve()
  expect(await cancelling).toMatchObject({ status: 'cancelled' })
  expect(await ended).toBe('cancelled')
  expect(bank.invoices).toEqual([])
})

test('a clock that is set forward: the run goes on, effects included', async () => {
  const { runs, time, go, ended, bank } = await whileRunning(
    [['refund', { invoiceId: 'INV-1', refundNo: 1, amountCents: 500 }, { callId: 'c1' }]],
    (guard, bank) => [refundTool(guard, bank)],
  )
  time.ms += 60_001
  expect(await runs.list(boss, {})).toMatchObject([{ status: 'running' }])
  time.ms += 60_001
  go.resolve()
  expect(await ended).toBe('completed')
  expect(bank.invoices).toEqual(['INV-1'])
})
