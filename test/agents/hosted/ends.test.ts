import { assistantMessage, functionCall, modelError, modelResponder } from '@openai/agents/testing'
import { tool } from '@openai/agents'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardedTool } from 'holdpoint'
import { createRuns } from '../../../src/agents/hosted/runs.ts'
import { PAYMENTS, SERVER, startedGuard } from '../../fixtures/guard.ts'
import { done, gate, refundCall, refundTool, scripted, toldIn } from '../helpers.ts'
import { ann, boss, cashier, cashierWorld, decideAll, hostedWorld, KEY } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }

test('denied before the first model call: the run ends as denied, and can be resumed once it is allowed', async () => {
  const { runs, authority, model } = await cashierWorld([done])
  authority.stop(SERVER)
  const denial = { code: 'DEVICE_REVOKED', boundary: 'task' }
  expect(await runs.start(ann, start)).toMatchObject({ status: 'denied', resumable: true, denial })
  expect(model.calls).toHaveLength(0)
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ code: 'RESUME_DENIED' })
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed', output: 'done' })
  expect(model.calls).toHaveLength(1)
})

test('denied between two model calls: what was done stays done, and the run goes on from there', async () => {
  const { runs, authority, bank, model } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
  })
  bank.before = () => authority.stop(SERVER)
  expect(await runs.start(ann, start)).toMatchObject({ status: 'denied', resumable: true })
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(toldIn(model)['c1']).toBe('{"receipt":"r-1"}')
})

test.each(['stop', 'abort'] as const)('%s of a tool ends the run as denied, for good', async (onDenied) => {
  const { runs, authority, bank, model } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false, onDenied },
  })
  authority.stop(PAYMENTS)
  expect(await runs.start(ann, start)).toMatchObject({
    status: 'denied',
    resumable: false,
    denial: { code: 'DEVICE_REVOKED', boundary: 'tool', on_denied: onDenied },
  })
  expect(bank.invoices).toEqual([])
  expect(model.calls).toHaveLength(1)
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ code: 'RUN_NOT_RESUMABLE' })
})

test('stop keeps what its siblings gave: each of them answered, and the refusal too', async () => {
  const world = await hostedWorld({
    agents: (guard, bank) => [
      {
        agent: scripted(
          [
            refundTool(guard, bank, { onDenied: 'stop' }),
            guardedTool(guard.surface('email'), {
              name: 'look',
              description: 'Look',
              parameters: z.object({}),
              effects: 'none',
              execute: () => 'seen',
            }),
          ],
          [[functionCall('look', {}, { callId: 'c0' }), refundCall('c1')], done],
          { name: 'cashier' },
        ).agent,
      },
    ],
  })
  world.authority.stop(PAYMENTS)
  const view = await world.runs.start(ann, { ...start, onStep: world.onStep })
  expect(view).toMatchObject({ status: 'denied', resumable: false })
  const outputs = world.steps.filter(({ type }) => type === 'tool_output')
  expect(outputs).toHaveLength(2)
  expect(outputs).toContainEqual(expect.objectContaining({ call_id: 'c0', output: 'seen' }))
  expect(outputs).toContainEqual(expect.objectContaining({ call_id: 'c1', code: 'DEVICE_REVOKED' }))
})

test('a model that fails ends the run as failed, with nothing of its error told, and resume asks it again', async () => {
  const { runs, bank } = await cashierWorld(
    [[refundCall('c1')], modelError(new Error('sk-SECRET-0123456789 at 10.0.0.7')), done],
    { refund: { needsApproval: false } },
  )
  const view = await runs.start(ann, start)
  expect(view).toMatchObject({ status: 'failed', resumable: true, error: { code: 'RUN_FAILED' } })
  expect(JSON.stringify(view)).not.toMatch(/SECRET|10\.0/)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed', output: 'done' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('an unknown tool: failed, and resume asks the model again', async () => {
  const { runs, model } = await cashierWorld([[functionCall('no_such_tool', {}, { callId: 'c1' })], done])
  expect(await runs.start(ann, start)).toMatchObject({
    status: 'failed',
    resumable: true,
    error: { code: 'MODEL_MISBEHAVED' },
  })
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(model.calls).toHaveLength(2)
})

test('too many turns: failed, and resumed with more of them it goes on', async () => {
  const { agent, replica, bank } = await cashierWorld(
    [[refundCall('c1')], [refundCall('c2', 'INV-2')], done],
    { refund: { needsApproval: false } },
  )
  const short = replica([{ agent, name: 'short', maxTurns: 1 }])
  expect(await short.start(ann, { ...start, agent: 'short' })).toMatchObject({
    status: 'failed',
    resumable: true,
    error: { code: 'MAX_TURNS_EXCEEDED' },
  })
  const longer = replica([{ agent, name: 'short', maxTurns: 5 }])
  expect(await longer.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1', 'INV-2'])
})

test.each([
  ['no JSON', '{"invoiceId": '],
  ['JSON that does not fit', '{"invoiceId":7}'],
])('arguments that are %s: nothing runs, approved or not, and the model is told', async (_, text) => {
  const call = { ...functionCall('refund', {}, { callId: 'c1' }), arguments: text }
  const { runs, bank, model } = await cashierWorld([[call], done])
  const view = await runs.start(ann, start)
  if (view.status === 'interrupted') {
    await decideAll(runs, 'run_1', true)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  }
  expect(bank.invoices).toEqual([])
  expect(toldIn(model)['c1']).toMatch(/bad_arguments|parsing tool arguments/)
})

test('a call id that the model uses again for other arguments is not covered by the first approval', async () => {
  const { runs, bank } = await cashierWorld([
    [refundCall('c1')],
    [refundCall('c1', 'INV-2', 900)],
    done,
    done,
  ])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  const view = await runs.resume(ann, resume)
  expect(bank.invoices).toEqual(['INV-1'])
  expect(view).toMatchObject({ status: 'failed', error: { code: 'MODEL_MISBEHAVED' } })
})

test('cancelled while it waits: its approvals end, and nothing runs', async () => {
  const { runs, bank } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  expect(await runs.cancel(ann, 'run_1', 'wrong customer')).toMatchObject({
    status: 'cancelled',
    approvals: [],
  })
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ code: 'RUN_ENDED' })
  await expect(runs.cancel(ann, 'run_1')).rejects.toMatchObject({ code: 'RUN_ENDED' })
  expect(bank.invoices).toEqual([])
  expect(await runs.show(ann, 'run_1')).toMatchObject({
    allApprovals: [{ state: 'ended' }],
    operatorLog: expect.arrayContaining([
      expect.objectContaining({ action: 'run.cancel', by: 'ann', reason: 'wrong customer' }),
    ]),
  })
})

/** A run whose payment has started, and waits to `go` on. */
async function payingWorld() {
  const started = gate()
  const go = gate()
  const world = await cashierWorld([[refundCall('c1')], done], { refund: { needsApproval: false } })
  world.bank.before = () => {
    started.resolve()
    return go.promise
  }
  const running = world.runs.start(ann, start)
  await started.promise
  return { ...world, running, go }
}

test('cancelled while it runs: the run is aborted, and an effect that has started finishes', async () => {
  const { runs, bank, model, running, go } = await payingWorld()
  const cancelling = runs.cancel(boss, 'run_1')
  go.resolve()
  expect(await cancelling).toMatchObject({ status: 'cancelled' })
  expect(await running).toMatchObject({ status: 'cancelled', resumable: false })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(model.calls).toHaveLength(1)
  expect((await runs.show(ann, 'run_1')).effects).toMatchObject([{ state: 'done', callId: 'c1' }])
})

test('cancelled while a tool heeds nothing: who cancels is told that it is cancelling, and the run ends later', async () => {
  const { runs, fire, running, go } = await payingWorld()
  let answered = false
  const cancelling = runs.cancel(boss, 'run_1').finally(() => (answered = true))
  await expect
    .poll(() => {
      fire(5_000)
      return answered
    })
    .toBe(true)
  expect(await cancelling).toMatchObject({ status: 'running', cancelling: true })
  go.resolve()
  expect(await running).toMatchObject({ status: 'cancelled' })
})

test('its caller gives up: the run ends as cancelled, and nothing more starts', async () => {
  const { runs, model } = await cashierWorld([
    modelResponder(() => {
      giveUp.abort()
      return [assistantMessage('too late')]
    }),
    done,
  ])
  const giveUp = new AbortController()
  const view = await runs.start(ann, { ...start, signal: giveUp.signal })
  expect(view).toMatchObject({ status: 'cancelled', resumable: false })
  expect(model.calls).toHaveLength(1)
})

test('a shutdown lets the tools of a turn finish, keeps what they gave, and another replica goes on from there', async () => {
  const started = gate()
  const go = gate()
  const { runs, bank, guard, store } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
  })
  bank.before = () => {
    started.resolve()
    return go.promise
  }
  const running = runs.start(ann, start)
  await started.promise
  const closing = guard.close({ graceMs: 5_000 })
  go.resolve()
  expect(await running).toMatchObject({ status: 'interrupted', resumable: true, approvals: [] })
  expect(await closing).toBe(true)
  await runs.close()
  await expect(runs.start(ann, { ...start, runId: 'run_2' })).rejects.toMatchObject({ code: 'RUNS_CLOSING' })

  const other = await startedGuard({ journal: store.journal })
  const { agent, model } = cashier(other.guard, bank, [done], { refund: { needsApproval: false } })
  const replica = createRuns({ guard: other.guard, store: store.runs, agents: [{ agent }], stateKeys: [KEY] })
  expect(await replica.resume(ann, resume)).toMatchObject({ status: 'completed', output: 'done' })
  expect(toldIn(model)['c1']).toBe('{"receipt":"r-1"}')
  expect(bank.invoices).toEqual(['INV-1'])
})

test('a turn that one tool broke off while another one paid is not asked of the model again', async () => {
  const started = gate()
  const paid = gate()
  const broken = tool({
    name: 'broken',
    description: 'Throws',
    parameters: z.object({}),
    errorFunction: null,
    execute: async () => {
      await started.promise
      throw new Error('broken')
    },
  })
  const world = await hostedWorld({
    agents: (guard, bank) => {
      bank.before = () => {
        started.resolve()
        return paid.promise
      }
      const refund = refundTool(guard, bank, { key: 'each-call' })
      const calls = [refundCall('c1'), functionCall('broken', {}, { callId: 'c2' })]
      const { agent } = scripted([refund, broken], [calls, done], { name: 'cashier' })
      guardAgent(agent, guard.surface('email'))
      return [{ agent }]
    },
  })
  const running = world.runs.start(ann, start)
  await started.promise
  paid.resolve()
  expect(await running).toMatchObject({
    status: 'failed',
    resumable: false,
    error: { code: 'TOOL_CALL_FAILED' },
  })
  expect(world.bank.invoices).toEqual(['INV-1'])
  expect((await world.runs.show(ann, 'run_1')).effects).toMatchObject([{ callId: 'c1', state: 'done' }])
})
