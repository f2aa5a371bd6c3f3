import { DatabaseSync } from 'node:sqlite'
import { Agent, handoff, Runner, RunState, tool } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardedToolCore } from 'holdpoint'
import { createStateSeal } from '../../../src/agents/hosted/sealed-state.ts'
import { PAYMENTS } from '../../fixtures/guard.ts'
import { done, refundCall, refundTool, refusalIn, scripted, toldIn, type RefundOptions } from '../helpers.ts'
import { ann, cashierWorld, decideAll, hostedWorld, KEY } from './world.ts'

const start = { agent: 'desk', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }
const askCashier = functionCall('ask_cashier', { input: 'refund it' }, { callId: 'o1' })

/** A desk whose tool is a cashier: both hosted as one agent. */
async function deskAndCashier(
  script: ConstructorParameters<typeof ScriptedModel>[0],
  refund: RefundOptions = { needsApproval: true },
  needsApproval = false,
) {
  let models: { outer: ScriptedModel; inner: ScriptedModel; innerAgent: Agent } | undefined
  const world = await hostedWorld({
    agents: (guard, bank) => {
      const inner = scripted([refundTool(guard, bank, refund)], script, { name: 'cashier' })
      const asTool = inner.agent.asTool({
        toolName: 'ask_cashier',
        toolDescription: 'Ask the cashier',
        ...(needsApproval ? { needsApproval: true } : {}),
      })
      const outer = scripted([asTool], [[askCashier], done, done], { name: 'desk' })
      guardAgent(outer.agent, guard.surface('email'))
      models = { outer: outer.model, inner: inner.model, innerAgent: inner.agent }
      return [{ agent: outer.agent }]
    },
  })
  return { ...world, ...(models as NonNullable<typeof models>) }
}

test('a call of an agent that is a tool pauses the whole run, and goes on where it was', async () => {
  const { runs, bank, inner, outer } = await deskAndCashier([[refundCall('c1')], done])
  const view = await runs.start(ann, start)
  expect(view).toMatchObject({
    status: 'interrupted',
    approvals: [{ callId: 'c1', tool: 'refund', surface: 'payments', arguments: { amountCents: 500 } }],
  })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(inner.calls).toHaveLength(2)
  expect(outer.calls).toHaveLength(2)
})

test('declined inside: the inner model is told, and nothing runs', async () => {
  const { runs, bank, inner } = await deskAndCashier([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', false, 'not today')
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(toldIn(inner)['c1']).toBe('not today')
  expect(bank.invoices).toEqual([])
})

test('an agent tool that needs approval itself, around one that does: both are asked once', async () => {
  const { runs, bank } = await deskAndCashier([[refundCall('c1')], done], { needsApproval: true }, true)
  expect(await runs.start(ann, start)).toMatchObject({ approvals: [{ callId: 'o1', tool: 'ask_cashier' }] })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({
    status: 'interrupted',
    approvals: [{ callId: 'c1' }],
  })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test.each(['stop', 'abort'] as const)('%s of an inner tool ends the outer run', async (onDenied) => {
  const { runs, bank, authority, outer } = await deskAndCashier([[refundCall('c1')], done], { onDenied })
  authority.stop(PAYMENTS)
  expect(await runs.start(ann, start)).toMatchObject({
    status: 'denied',
    resumable: false,
    denial: { code: 'DEVICE_REVOKED', on_denied: onDenied },
  })
  expect(bank.invoices).toEqual([])
  expect(outer.calls).toHaveLength(1)
})

test('approvals that somebody seals into the state of the inner agent do not count either: it goes on waiting', async () => {
  const { runs, bank, store, file, innerAgent } = await deskAndCashier([[refundCall('c1')], done])
  await runs.start(ann, start)
  const sealed = await store.runs.find('run_1')
  const bound = { purpose: 'state', runId: 'run_1', version: 1 } as const
  const seal = createStateSeal([KEY])
  const json = JSON.parse(seal.open(bound, sealed?.state ?? new Uint8Array())) as {
    pendingAgentToolRuns: Record<string, string>
  }
  const [key, text] = Object.entries(json.pendingAgentToolRuns)[0] ?? ['', '{}']
  const state = await RunState.fromString(innerAgent, text)
  for (const item of state.getInterruptions()) state.approve(item)
  json.pendingAgentToolRuns[key] = state.toString()
  const db = new DatabaseSync(file)
  db.prepare('UPDATE run_states SET state = ? WHERE run_id = ?').run(
    seal.seal(bound, JSON.stringify(json)),
    'run_1',
  )
  db.close()
  expect(await runs.resume(ann, resume)).toMatchObject({
    status: 'interrupted',
    approvals: [{ callId: 'c1', state: 'waiting' }],
  })
  expect(bank.invoices).toEqual([])
})

test('handed off: the other agent pauses, is stored, and goes on', async () => {
  const world = await hostedWorld({
    agents: (guard, bank) => {
      const cashier = scripted(
        [refundTool(guard, bank, { needsApproval: true })],
        [[refundCall('c1')], done],
        {
          name: 'cashier',
        },
      ).agent
      const desk = scripted([], [[functionCall('transfer_to_cashier', {}, { callId: 'h1' })]], {
        name: 'desk',
        handoffs: [handoff(cashier)],
      })
      guardAgent(desk.agent, guard.surface('email'))
      return [{ agent: desk.agent }]
    },
  })
  const { runs, bank } = world
  expect(await runs.start(ann, start)).toMatchObject({
    status: 'interrupted',
    approvals: [{ callId: 'c1', tool: 'refund' }],
  })
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed', output: 'done' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('NO_SESSION: a hosted agent that somebody runs past the runs service does nothing', async () => {
  const { agent, model, bank } = await cashierWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
  })
  await new Runner().run(agent, 'go')
  expect(refusalIn(model, 'c1')).toMatchObject({ code: 'NO_SESSION', executed: false })
  expect(bank.invoices).toEqual([])
  const core = guardedToolCore(agent.tools[0])
  const answer = await core?.call({
    callId: 'c9',
    arguments: { invoiceId: 'INV-9', refundNo: 1, amountCents: 1 },
  })
  expect(answer).toMatchObject({ kind: 'output' })
  expect(bank.invoices).toEqual(['INV-9'])
})

test('a tool that is added to a hosted agent and asks nobody keeps it from running', async () => {
  const { runs, agent, model } = await cashierWorld([done])
  agent.tools = [
    ...agent.tools,
    tool({ name: 'leak', description: 'x', parameters: z.object({}), execute: () => 'x' }),
  ]
  expect(await runs.start(ann, { ...start, agent: 'cashier' })).toMatchObject({
    status: 'failed',
    error: { code: 'GUARD_MISCONFIGURED', message: expect.stringContaining('leak') },
  })
  expect(model.calls).toHaveLength(0)
})

test('the context of a run comes from its caller, through the app, and anew at each resume', async () => {
  const seen: unknown[] = []
  const world = await hostedWorld({
    agents: (guard, bank) => [
      {
        agent: scripted([refundTool(guard, bank, { needsApproval: true })], [[refundCall('c1')], done], {
          name: 'desk',
        }).agent,
        context: (at) => {
          seen.push(at)
          if (at.context === 'broken') throw new Error('sk-SECRET')
          return at
        },
      },
    ],
  })
  const { runs } = world
  await runs.start(ann, { ...start, context: 1 })
  await runs.resume(ann, { ...resume, context: 2 })
  expect(seen).toEqual([
    { caller: 'ann', runId: 'run_1', context: 1 },
    { caller: 'ann', runId: 'run_1', context: 2 },
  ])
  const broken = await runs.start(ann, { ...start, runId: 'run_2', context: 'broken' })
  expect(broken).toMatchObject({ status: 'failed', resumable: false, error: { code: 'RUN_FAILED' } })
  expect(JSON.stringify(broken)).not.toContain('SECRET')
  await expect(runs.resume(ann, { ...resume, context: 'broken' })).rejects.toThrow()
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'interrupted' })
})

test('one agent under two names, and runs of it that do not disturb each other', async () => {
  const world = await hostedWorld({
    agents: (guard, bank) => {
      const agent = new Agent({
        name: 'cashier',
        model: new ScriptedModel([[refundCall('c1')], [refundCall('c1', 'INV-2')], done, done]),
        tools: [refundTool(guard, bank, { needsApproval: true })],
      })
      return [{ agent }, { agent, name: 'second' }]
    },
  })
  const { runs, bank } = world
  await runs.start(ann, { ...start, agent: 'cashier', runId: 'a' })
  await runs.start(ann, { ...start, agent: 'second', runId: 'b' })
  await decideAll(runs, 'b', true)
  expect(await runs.resume(ann, { runId: 'a' })).toMatchObject({ status: 'interrupted' })
  expect(bank.invoices).toEqual([])
  expect(await runs.resume(ann, { runId: 'b' })).toMatchObject({ status: 'completed', agent: 'second' })
  expect(bank.invoices).toEqual(['INV-2'])
})
