import { expect, test } from 'vitest'
import { createMemoryJournal } from 'holdpoint'
import { createRuns } from '../../../src/agents/hosted/runs.ts'
import { startedGuard } from '../../fixtures/guard.ts'
import { done, refundCall } from '../helpers.ts'
import { ann, bob, cashierWorld, KEY } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }

test('the same run id with the same request gives the run that is there, and runs nothing', async () => {
  const { runs, model } = await cashierWorld([[refundCall('c1')], done])
  const first = await runs.start(ann, start)
  expect(await runs.start(ann, start)).toEqual(first)
  expect(model.calls).toHaveLength(1)
})

test('the same request twice at once runs once', async () => {
  const { runs, model } = await cashierWorld([done])
  const views = await Promise.all([runs.start(ann, start), runs.start(ann, start)])
  expect(views.map(({ status }) => status).toSorted()).toEqual(['completed', 'running'])
  expect(model.calls).toHaveLength(1)
})

test('RUN_ID_TAKEN: by another request, or by somebody else with the same one', async () => {
  const { runs } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  const taken = { code: 'RUN_ID_TAKEN' }
  await expect(runs.start(ann, { ...start, input: 'go on' })).rejects.toMatchObject(taken)
  await expect(runs.start(bob, start)).rejects.toMatchObject(taken)
})

test('without a run id each start is a run of its own', async () => {
  const { runs } = await cashierWorld([done, done])
  const one = await runs.start(ann, { agent: 'cashier', input: 'go' })
  const other = await runs.start(ann, { agent: 'cashier', input: 'go' })
  expect(one.runId).not.toBe(other.runId)
})

test.each([
  ['AGENT_NOT_FOUND', { agent: 'nobody' }],
  ['BAD_INPUT', { input: '' }],
  ['BAD_INPUT', { input: [] }],
  ['BAD_INPUT', { input: [7] as never }],
  ['BAD_INPUT', { runId: '' }],
  ['BAD_INPUT', { runId: 'a b' }],
  ['BAD_INPUT', { delayMs: -1 }],
  ['BAD_INPUT', { delayMs: Number.NaN }],
])('%s: %j, and nothing is stored', async (code, wrong) => {
  const { runs, model } = await cashierWorld([done])
  await expect(runs.start(ann, { ...start, ...wrong })).rejects.toMatchObject({ code })
  expect(await runs.list(ann, {})).toEqual([])
  expect(model.calls).toHaveLength(0)
})

test('lists are of one caller, by status, newest first, page by page', async () => {
  const { runs } = await cashierWorld([done, done, [refundCall('c1')], done])
  for (const runId of ['a', 'b', 'c']) await runs.start(ann, { ...start, runId })
  const ids = async (filter: Parameters<typeof runs.list>[1]) =>
    (await runs.list(ann, filter)).map(({ runId }) => runId)
  expect(await ids({})).toEqual(['c', 'b', 'a'])
  expect(await ids({ status: 'completed' })).toEqual(['b', 'a'])
  expect(await ids({ limit: 1, beforeRunId: 'c' })).toEqual(['b'])
  await expect(runs.list(ann, { limit: 0 })).rejects.toMatchObject({ code: 'BAD_INPUT' })
})

test('GUARD_MISCONFIGURED: a guard with another journal than the runs have', async () => {
  const { store, agent } = await cashierWorld([done])
  const { guard } = await startedGuard({ journal: createMemoryJournal() })
  expect(() => createRuns({ guard, store: store.runs, agents: [{ agent }], stateKeys: [KEY] })).toThrow(
    expect.objectContaining({ code: 'GUARD_MISCONFIGURED' }),
  )
})
