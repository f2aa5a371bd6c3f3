import { expect, test } from 'vitest'
import { SERVER } from '../../fixtures/guard.ts'
import { done, gate, refundCall } from '../helpers.ts'
import { ann, boss, cashierWorld, decideAll, type World } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const LOOK_MS = 1_000
const SWEEP_MS = 10_000

/** Waits for a run on this replica to pause or end, without sleeping. */
function ended(world: Pick<World, 'runs'>, runId = 'run_1') {
  return world.runs.follow(boss, runId, () => {}, new AbortController().signal)
}

/** Whatever the queue has begun has come to its end. */
async function settled({ runs, fire }: Pick<World, 'runs' | 'fire'>, runId: string, unlike: string) {
  for (;;) {
    const { status } = await runs.show(boss, runId)
    if (status !== unlike && status !== 'running') return status
    fire(LOOK_MS)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

test('in the background: answered at once, begun when the server has begun, after a task of its own', async () => {
  const { runs, authority, bank } = await cashierWorld([[refundCall('c1')], done])
  const view = await runs.start(ann, { ...start, background: true })
  expect(view).toMatchObject({ status: 'queued', resumable: false, startsAt: expect.any(String) })
  expect(authority.boundaries).toEqual(['startup'])
  runs.begin()
  expect(await ended({ runs })).toMatchObject({ status: 'interrupted' })
  expect(authority.boundaries).toEqual(['startup', 'task', 'task'])
  expect(authority.questions[1]).toMatchObject({ deviceIds: [SERVER], runId: 'run_1' })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('the input of a queued run is sealed in the file', async () => {
  const { runs, fileHolds } = await cashierWorld([done])
  await runs.start(ann, { ...start, input: 'pay for the diamond ring', background: true })
  expect(fileHolds('run_1')).toBe(true)
  expect(fileHolds('diamond')).toBe(false)
})

test('delayed: not before its time has come', async () => {
  const { runs, model, time, fire } = await cashierWorld([done])
  runs.begin()
  await runs.start(ann, { ...start, delayMs: 60_000 })
  fire(LOOK_MS)
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'queued' })
  time.ms += 60_000
  expect(await settled({ runs, fire }, 'run_1', 'queued')).toBe('completed')
  expect(model.calls).toHaveLength(1)
})

test('denied at task when it is picked: it waits on, says why, and is tried again later', async () => {
  const { runs, authority, model, time, fire } = await cashierWorld([done])
  authority.stop(SERVER)
  runs.begin()
  await runs.start(ann, { ...start, background: true })
  while ((await runs.show(ann, 'run_1')).denial === undefined)
    await new Promise((resolve) => setImmediate(resolve))
  expect(await runs.show(ann, 'run_1')).toMatchObject({
    status: 'queued',
    denial: { code: 'DEVICE_REVOKED', boundary: 'task' },
  })
  authority.restore(SERVER)
  fire(LOOK_MS)
  expect((await runs.show(ann, 'run_1')).status).toBe('queued')
  expect(model.calls).toHaveLength(0)
  time.ms += 10_000
  expect(await settled({ runs, fire }, 'run_1', 'queued')).toBe('completed')
  expect(model.calls).toHaveLength(1)
})

test('cancelled while it is queued: it never begins', async () => {
  const { runs, model, fire } = await cashierWorld([done])
  await runs.start(ann, { ...start, background: true })
  expect(await runs.cancel(ann, 'run_1')).toMatchObject({ status: 'cancelled' })
  runs.begin()
  fire(LOOK_MS)
  await runs.close()
  expect(model.calls).toHaveLength(0)
})

test('CONTEXT_NOT_KEPT: a run that waits takes no context', async () => {
  const { runs } = await cashierWorld([done])
  const waiting = { ...start, context: { apiKey: 'sk-SECRET' } }
  for (const how of [{ background: true }, { delayMs: 0 }])
    await expect(runs.start(ann, { ...waiting, ...how })).rejects.toMatchObject({ code: 'CONTEXT_NOT_KEPT' })
  expect(await runs.list(ann, {})).toEqual([])
})

test('RUNS_OVERLOADED: what cannot wait is refused, what can waits until there is room', async () => {
  const held = gate()
  const { runs, bank, fire } = await cashierWorld([[refundCall('c1')], done, done], {
    maxConcurrentRuns: 1,
    refund: { needsApproval: false },
  })
  const busy = gate()
  bank.before = () => {
    busy.resolve()
    return held.promise
  }
  const first = runs.start(ann, start)
  await busy.promise
  await expect(runs.start(ann, { ...start, runId: 'run_2' })).rejects.toMatchObject({
    code: 'RUNS_OVERLOADED',
  })
  runs.begin()
  await runs.start(ann, { ...start, runId: 'run_3', background: true })
  fire(LOOK_MS)
  expect(await runs.show(ann, 'run_3')).toMatchObject({ status: 'queued' })
  // Whoever asks again gets the run that is there.
  expect(await runs.start(ann, start)).toMatchObject({ runId: 'run_1', status: 'running' })
  held.resolve()
  expect(await first).toMatchObject({ status: 'completed' })
  expect(await settled({ runs, fire }, 'run_3', 'queued')).toBe('completed')
  await expect(runs.show(ann, 'run_2')).rejects.toMatchObject({ code: 'RUN_NOT_FOUND' })
})

test('a run whose process died does not look as if it were running: it is what it was, or lost (R3)', async () => {
  const { runs, store, time } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await store.runs.claim('run_1', 60_000)
  const created = { caller: 'ann', agent: 'cashier', requestDigest: 'x' }
  await store.runs.create({ runId: 'run_2', ...created }, 60_000)
  expect((await runs.list(ann, {})).map(({ status }) => status)).toEqual(['running', 'running'])
  await expect(runs.resume(ann, { runId: 'run_1' })).rejects.toMatchObject({ code: 'RUN_BUSY' })
  time.ms += 60_001
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted', resumable: true })
  expect(await runs.list(ann, {})).toMatchObject([
    { runId: 'run_2', status: 'failed', error: { code: 'RUN_LOST' }, resumable: false },
    { runId: 'run_1', status: 'interrupted' },
  ])
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({ status: 'completed' })
})

test('lost runs are also found while nobody looks', async () => {
  const { runs, store, time, fire } = await cashierWorld([done])
  runs.begin()
  await store.runs.create({ runId: 'run_2', caller: 'ann', agent: 'cashier', requestDigest: 'x' }, 60_000)
  time.ms += 60_001
  fire(SWEEP_MS)
  await new Promise((resolve) => setImmediate(resolve))
  expect(await store.runs.find('run_2')).toMatchObject({ status: 'failed', problem: { code: 'RUN_LOST' } })
})

test('a replica that lost its claim saves nothing over what another one has made of the run', async () => {
  const held = gate()
  const busy = gate()
  const { runs, bank, store, time, fire, replica, agent } = await cashierWorld([
    [refundCall('c1')],
    done,
    done,
  ])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  bank.before = () => {
    busy.resolve()
    return held.promise
  }
  const slow = runs.resume(ann, { runId: 'run_1' })
  const refused = expect(slow).rejects.toMatchObject({ code: 'RUN_BUSY' })
  await busy.promise
  time.ms += 60_001
  const other = replica([{ agent }])
  expect(await other.cancel(boss, 'run_1')).toMatchObject({ status: 'cancelled' })
  fire(20_000)
  held.resolve()
  await refused
  expect(await store.runs.find('run_1')).toMatchObject({ status: 'cancelled' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('cancelled on another replica: this one hears of it with its next sign of life', async () => {
  const held = gate()
  const busy = gate()
  const { runs, bank, fire, replica, agent, model } = await cashierWorld([[refundCall('c1')], done, done], {
    refund: { needsApproval: false },
  })
  bank.before = () => {
    busy.resolve()
    return held.promise
  }
  const running = runs.start(ann, start)
  await busy.promise
  const other = replica([{ agent }])
  expect(await other.cancel(ann, 'run_1')).toMatchObject({ status: 'running', cancelling: true })
  fire(20_000)
  held.resolve()
  expect(await running).toMatchObject({ status: 'cancelled' })
  expect(model.calls).toHaveLength(1)
})
