import { functionCall } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool } from 'holdpoint'
import type { RunStep } from '../../../src/agents/hosted/run-types.ts'
import { SERVER } from '../../fixtures/guard.ts'
import { done, gate, refundCall, scripted } from '../helpers.ts'
import { ann, boss, cashierWorld, decideAll, hostedWorld } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const typesOf = (steps: readonly { type: string }[]) => steps.map(({ type }) => type)

test('every step of a run is told as it happens, each decision with its request id', async () => {
  const { runs, steps, onStep } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, { ...start, onStep })
  expect(typesOf(steps)).toEqual([
    'run_started',
    'held',
    'allowed',
    'tool_called',
    'approval_asked',
    'run_ended',
  ])
  expect(steps[2]).toMatchObject({ boundary: 'task', request_id: 'req-2', device_id: SERVER, code: 'ALLOW' })
  expect(steps[3]).toMatchObject({ call_id: 'c1', tool: 'refund', arguments: { amountCents: 500 } })
  expect(steps[4]).toMatchObject({
    call_id: 'c1',
    arguments: { amountCents: 500 },
    digest: expect.any(String),
  })
  expect(steps[5]).toMatchObject({ run: { status: 'interrupted', approvals: [{ callId: 'c1' }] } })

  await decideAll(runs, 'run_1', true)
  steps.length = 0
  await runs.resume(ann, { runId: 'run_1', onStep })
  expect(typesOf(steps)).toEqual([
    'held',
    'allowed',
    'run_resumed',
    'held',
    'allowed',
    'held',
    'allowed',
    'tool_output',
    'held',
    'allowed',
    'message',
    'run_ended',
  ])
  const boundaries = steps.flatMap((step) => (step.type === 'allowed' ? [step.boundary] : []))
  expect(boundaries).toEqual(['resume', 'tool', 'side_effect', 'task'])
  const toolAllowed = steps.find((step) => step.type === 'allowed' && step.boundary === 'tool')
  const output = steps.find(({ type }) => type === 'tool_output')
  expect(output).toMatchObject({ call_id: 'c1', output: '{"receipt":"r-1"}' })
  expect((output as { request_id?: string }).request_id).toBe(
    (toolAllowed as { request_id?: string }).request_id,
  )
  expect(steps.at(-1)).toMatchObject({ run: { status: 'completed', output: 'done' } })
})

test('a denied call is told with the code and the request id of its denial', async () => {
  const { runs, steps, onStep, authority } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
  })
  authority.stop('openai-agent:test:payments:01')
  await runs.start(ann, { ...start, onStep })
  const denied = steps.find(({ type }) => type === 'denied') as { request_id?: string }
  expect(denied).toMatchObject({ boundary: 'tool', code: 'DEVICE_REVOKED', call_id: 'c1' })
  expect(steps.filter(({ type }) => type === 'tool_output')).toMatchObject([
    { call_id: 'c1', code: 'DEVICE_REVOKED', request_id: denied.request_id },
  ])
})

test('the timeline keeps the steps without arguments, outputs and messages', async () => {
  const { runs } = await cashierWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  await runs.resume(ann, { runId: 'run_1' })
  const { steps } = await runs.show(ann, 'run_1')
  expect(typesOf(steps)).toEqual([
    'run_started',
    'held',
    'allowed',
    'tool_called',
    'approval_asked',
    'run_ended',
    'held',
    'allowed',
    'run_resumed',
    'held',
    'allowed',
    'held',
    'allowed',
    'tool_output',
    'held',
    'allowed',
    'run_ended',
  ])
  expect(JSON.stringify(steps)).not.toMatch(/INV-1|receipt|"done"/)
  expect(steps[2]).toMatchObject({ at: expect.any(String), request_id: 'req-2' })
})

test('nothing that a person, a model or a tool wrote, and nothing of the context, lies open in the file', async () => {
  const world = await hostedWorld({
    agents: (guard) => [
      {
        agent: scripted(
          [
            guardedTool<z.ZodObject<{ who: z.ZodString }>, { apiKey: string }>(guard.surface('payments'), {
              name: 'greet',
              description: 'Greet',
              parameters: z.object({ who: z.string() }),
              needsApproval: true,
              effects: 'none',
              execute: ({ who }, { context }) => `greeted-${who}-${context.apiKey.length}`,
            }),
          ],
          [[functionCall('greet', { who: 'argument-marker' }, { callId: 'c1' })], done],
          { name: 'cashier' },
        ).agent,
      },
    ],
  })
  const context = { apiKey: 'sk-context-marker-0123456789' }
  await world.runs.start(ann, { ...start, input: 'input-marker', context })
  for (const marker of ['context-marker', 'input-marker', 'argument-marker'])
    expect(world.fileHolds(marker)).toBe(false)
  await decideAll(world.runs, 'run_1', true)
  await world.runs.resume(ann, { runId: 'run_1', context })
  for (const marker of ['context-marker', 'input-marker', 'argument-marker', 'greeted-'])
    expect(world.fileHolds(marker)).toBe(false)
  expect(world.fileHolds('cashier')).toBe(true)
})

test('a listener that throws is told no more, and disturbs nobody', async () => {
  const { runs, lines } = await cashierWorld([[refundCall('c1')], done])
  let told = 0
  const onStep = () => {
    told += 1
    throw new Error('listener')
  }
  expect(await runs.start(ann, { ...start, onStep })).toMatchObject({ status: 'interrupted' })
  expect(told).toBe(1)
  expect(lines).toContainEqual(expect.objectContaining({ err: 'listener', run_id: 'run_1' }))
})

test('followed: steps from now on, and the run when it ends; it goes on when the follower leaves', async () => {
  const held = gate()
  const busy = gate()
  const { runs, bank } = await cashierWorld([[refundCall('c1')], done], { refund: { needsApproval: false } })
  bank.before = () => {
    busy.resolve()
    return held.promise
  }
  const running = runs.start(ann, start)
  await busy.promise
  const followed: RunStep[] = []
  const leave = new AbortController()
  const leaving = runs.follow(ann, 'run_1', () => {}, leave.signal)
  const following = runs.follow(boss, 'run_1', (step) => followed.push(step), new AbortController().signal)
  await new Promise((resolve) => setImmediate(resolve))
  leave.abort()
  expect(await leaving).toMatchObject({ status: 'running' })
  held.resolve()
  expect(await following).toMatchObject({ status: 'completed' })
  expect(typesOf(followed)).toEqual(['tool_output', 'held', 'allowed', 'message', 'run_ended'])
  expect(await running).toMatchObject({ status: 'completed' })
})

test('a direct call that names a run of somebody else leaves no steps in it', async () => {
  const held = gate()
  const busy = gate()
  const { runs, bank, guard, steps, onStep } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
  })
  bank.before = () => {
    busy.resolve()
    return held.promise
  }
  const running = runs.start(ann, { ...start, onStep })
  await busy.promise
  steps.length = 0
  await guard.run(
    { surface: guard.surface('email'), boundary: 'tool', tool: 'other', callId: 'x', runId: 'run_1' },
    () => undefined,
  )
  held.resolve()
  await running
  expect(steps.filter((step) => 'surface' in step && step.surface === 'email')).toEqual([])
})

test('followed from another replica: its end is seen without reading the run again and again', async () => {
  const { replica, store, agent, fire } = await cashierWorld([done])
  const run = { runId: 'run_1', caller: 'ann', agent: 'cashier', requestDigest: 'd' }
  const created = await store.runs.create(run, 60_000)
  const reads: string[] = []
  const find = (runId: string) => (reads.push(runId), store.runs.find(runId))
  const onlooker = replica([{ agent }], { store: { ...store.runs, find } })
  const following = onlooker.follow(ann, 'run_1', () => {}, new AbortController().signal)
  const looks = async () => {
    fire(1_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  for (let second = 0; second < 5; second += 1) await looks()
  expect(reads).toHaveLength(1)
  const completed = {
    status: 'completed',
    state: undefined,
    output: undefined,
    resumable: false,
    approvals: [],
  } as const
  await store.runs.save((created as { token: string }).token, {
    ...completed,
    denial: undefined,
    problem: undefined,
  })
  await looks()
  expect(await following).toMatchObject({ status: 'completed' })
})
