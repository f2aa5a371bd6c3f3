import { Agent, MaxTurnsExceededError, type MCPServer } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { resumeAgent, runAgent, serializeState, type ApprovalDecision } from 'holdpoint'
import { PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, refundCall, refundTool, scripted, toldIn } from './helpers.ts'

const approve = (callId: string, digest?: string): ApprovalDecision => ({ callId, approve: true, digest })

/** A paused run of one refund that needs approval, as text. */
async function paused({ key }: { key?: 'each-call' } = {}) {
  const made = await startedGuard()
  const bank = new Bank()
  const refund = refundTool(made.guard, bank, { needsApproval: true, ...(key === undefined ? {} : { key }) })
  const { agent, model } = scripted([refund], [[refundCall('c1')], done, done])
  const context = { tenant: 'acme', apiKey: 'sk-SECRET-0123456789' }
  const ended = await runAgent(made.guard, agent, 'go', { runId: 'run_1', context })
  if (ended.state === undefined) throw new Error('no state')
  return { ...made, bank, agent, model, ended, text: serializeState(ended.state) }
}

test('approved: asks at resume for the server device, then at every hold point again, and pays', async () => {
  const { guard, authority, agent, model, bank, text } = await paused()
  const resumed = await resumeAgent(guard, agent, text, { runId: 'run_1', approvals: [approve('c1')] })
  expect(resumed).toMatchObject({ runId: 'run_1', status: 'completed', output: 'done' })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(toldIn(model)['c1']).toBe('{"receipt":"r-1"}')
  expect(authority.boundaries).toEqual(['startup', 'task', 'resume', 'tool', 'side_effect', 'task'])
  expect(authority.questions[2]).toMatchObject({ deviceIds: [SERVER], runId: 'run_1' })
})

test('the context does not travel in the state: the tool gets the fresh one', async () => {
  const { guard, agent, text, bank } = await paused()
  expect(text).not.toContain('SECRET')
  const fresh = { tenant: 'fresh' }
  const resumed = await resumeAgent(guard, agent, text, { approvals: [approve('c1')], context: fresh })
  expect(bank.refunds).toHaveLength(1)
  expect(resumed.state?.toJSON().context.context).toEqual(fresh)
})

test('a context that JSON cannot hold does not keep a run from pausing', async () => {
  const { guard } = await startedGuard()
  const circular: Record<string, unknown> = { send: () => 1, big: 1n }
  circular['self'] = circular
  const refund = refundTool(guard, new Bank(), { needsApproval: true })
  const { agent } = scripted([refund], [[refundCall('c1')], done])
  const ended = await runAgent(guard, agent, 'go', { context: circular })
  const text = ended.state === undefined ? '' : serializeState(ended.state)
  expect((await resumeAgent(guard, agent, text, { approvals: [approve('c1')] })).status).toBe('completed')
})

function spyingServer(listed: string[]): MCPServer {
  const server = {
    name: 'spy',
    cacheToolsList: false,
    connect: async () => {},
    close: async () => {},
    invalidateToolsCache: async () => {},
    callTool: async () => [],
    listTools: async () => {
      listed.push('listTools')
      return []
    },
  }
  return server
}

test('denied at resume: nothing is parsed, connected to or run', async () => {
  const { guard, authority, agent, model, bank, text } = await paused()
  const listed: string[] = []
  agent.mcpServers = [spyingServer(listed)]
  authority.stop(SERVER)
  const resumed = await resumeAgent(guard, agent, text, { runId: 'run_1', approvals: [approve('c1')] })
  expect(resumed).toMatchObject({
    runId: 'run_1',
    status: 'denied',
    denial: { code: 'DEVICE_REVOKED', boundary: 'resume', device_id: SERVER, executed: false },
  })
  expect(await resumeAgent(guard, agent, 'this is no state', {})).toMatchObject({ status: 'denied' })
  expect(listed).toEqual([])
  expect(bank.refunds).toEqual([])
  expect(model.calls).toHaveLength(1)

  authority.restore(SERVER)
  expect((await resumeAgent(guard, agent, text, { approvals: [approve('c1')] })).status).toBe('completed')
  expect(listed.length).toBeGreaterThan(0)
})

test('resumed while the surface is revoked: the approved call is denied at its own hold point', async () => {
  const { guard, authority, agent, model, bank, text } = await paused()
  authority.stop(PAYMENTS)
  const resumed = await resumeAgent(guard, agent, text, { approvals: [approve('c1')] })
  expect(resumed.status).toBe('completed')
  expect(bank.refunds).toEqual([])
  expect(JSON.parse(toldIn(model)['c1'] ?? '')).toMatchObject({ code: 'DEVICE_REVOKED', boundary: 'tool' })
})

test('without a decision the run stays interrupted, without a model call', async () => {
  const { guard, agent, model, text, ended } = await paused()
  const resumed = await resumeAgent(guard, agent, text)
  expect(resumed).toMatchObject({ status: 'interrupted', approvals: ended.approvals })
  expect(model.calls).toHaveLength(1)
})

test('a decline never executes, and the model is told the words', async () => {
  const { guard, agent, model, bank, text } = await paused()
  const approvals = [{ callId: 'c1', approve: false, message: 'not this one' }]
  await resumeAgent(guard, agent, text, { approvals })
  expect(bank.refunds).toEqual([])
  expect(toldIn(model)['c1']).toBe('not this one')
})

test('APPROVAL_MISMATCH: arguments that were changed after they were shown do not run', async () => {
  const { guard, agent, model, bank, text, ended } = await paused()
  const digest = ended.approvals[0]?.digest ?? ''
  const tampered = text.replaceAll('\\"amountCents\\":500', '\\"amountCents\\":999999')
  expect(tampered).not.toBe(text)
  const resuming = resumeAgent(guard, agent, tampered, { approvals: [approve('c1', digest)] })
  await expect(resuming).rejects.toMatchObject({ code: 'APPROVAL_MISMATCH' })
  expect(bank.refunds).toEqual([])
  expect(model.calls).toHaveLength(1)
  await resumeAgent(guard, agent, text, { approvals: [approve('c1', digest)] })
  expect(bank.refunds).toMatchObject([{ amountCents: 500 }])
})

test('APPROVAL_UNKNOWN: a decision about a call that does not wait applies none', async () => {
  const { guard, agent, bank, text } = await paused()
  const resuming = resumeAgent(guard, agent, text, { approvals: [approve('c1'), approve('c9')] })
  await expect(resuming).rejects.toMatchObject({
    code: 'APPROVAL_UNKNOWN',
    message: expect.stringContaining('c1'),
  })
  expect(bank.refunds).toEqual([])
})

test('approvals that somebody wrote into the state do not count', async () => {
  const { guard, agent, model, bank, ended } = await paused()
  const { state } = ended
  if (state === undefined) throw new Error('no state')
  for (const item of state.getInterruptions()) state.approve(item)
  const resumed = await resumeAgent(guard, agent, state.toString())
  expect(resumed.status).toBe('interrupted')
  expect(bank.refunds).toEqual([])
  expect(model.calls).toHaveLength(1)
})

/** An outer agent whose inner agent waits for the approval of a refund. */
async function pausedInside() {
  const made = await startedGuard()
  const bank = new Bank()
  const refund = refundTool(made.guard, bank, { needsApproval: true })
  const inner = scripted([refund], [[refundCall('i1')], done], { name: 'inner' })
  const ask = functionCall('ask_inner', { input: 'go' }, { callId: 'o1' })
  const outerModel = new ScriptedModel([[ask], done])
  const tools = [inner.agent.asTool({ toolName: 'ask_inner' })]
  const outer = new Agent({ name: 'outer', model: outerModel, tools })
  const context = { apiKey: 'sk-SECRET-0123456789' }
  const ended = await runAgent(made.guard, outer, 'go', { runId: 'run_1', context })
  if (ended.state === undefined) throw new Error('no state')
  return { ...made, bank, outer, innerModel: inner.model, ended, state: ended.state }
}

test('an inner agent that waits for approval resumes, in the session of the outer one', async () => {
  const { guard, authority, outer, bank, ended, state } = await pausedInside()
  expect(ended.approvals).toMatchObject([{ callId: 'i1', tool: 'refund' }])
  const text = serializeState(state)
  expect(text).not.toContain('SECRET')
  const resumed = await resumeAgent(guard, outer, text, { runId: 'run_1', approvals: [approve('i1')] })
  expect(resumed.status).toBe('completed')
  expect(bank.invoices).toEqual(['INV-1'])
  expect(authority.boundaries).toEqual([
    'startup',
    'task',
    'task',
    'resume',
    'tool',
    'side_effect',
    'task',
    'task',
  ])
})

test('approvals that somebody wrote into the state of an inner agent do not count', async () => {
  const { guard, outer, bank, innerModel, state } = await pausedInside()
  const forged = JSON.parse(state.toString()) as { pendingAgentToolRuns: Record<string, string> }
  for (const item of state.getInterruptions()) state.approve(item)
  const approved = state.toJSON().context
  for (const [key, text] of Object.entries(forged.pendingAgentToolRuns)) {
    const inner = JSON.parse(text) as {
      context: { functionApprovals?: unknown; approvalInvocations?: unknown }
    }
    inner.context = JSON.parse(JSON.stringify(approved)) as never
    forged.pendingAgentToolRuns[key] = JSON.stringify(inner)
  }
  expect(JSON.stringify(forged)).toContain('functionApprovals')
  const resumed = await resumeAgent(guard, outer, JSON.stringify(forged))
  expect(resumed.status).toBe('interrupted')
  expect(bank.refunds).toEqual([])
  expect(innerModel.calls).toHaveLength(1)
})

test('the state of an error resumes: a run that ran out of turns goes on with more', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const { agent } = scripted([refundTool(guard, bank)], [[refundCall('c1')], done])
  const error = await runAgent(guard, agent, 'go', { maxTurns: 1 }).catch((thrown: unknown) => thrown)
  const { state } = error as MaxTurnsExceededError
  if (state === undefined) throw new Error('no state')
  const resumed = await resumeAgent(guard, agent, serializeState(state), { maxTurns: 5 })
  expect(resumed).toMatchObject({ status: 'completed', output: 'done' })
  expect(bank.refunds).toHaveLength(1)
})

test.each([
  ['a business key', undefined],
  ['each-call, under the same run id', 'each-call' as const],
])('the same snapshot resumed twice pays once: %s', async (_name, key) => {
  const { guard, agent, model, bank, text } = await paused(key === undefined ? {} : { key })
  const options = { runId: 'run_1', approvals: [approve('c1')] }
  await resumeAgent(guard, agent, text, options)
  await resumeAgent(guard, agent, text, options)
  expect(bank.refunds).toHaveLength(1)
  expect(JSON.parse(toldIn(model)['c1'] ?? '')).toMatchObject({ replayed: true, result: { receipt: 'r-1' } })
})

test('a resumed run streams too', async () => {
  const { guard, agent, bank, text } = await paused()
  const types = new Set<string>()
  const onEvent = ({ type }: { type: string }) => void types.add(type)
  const resumed = await resumeAgent(guard, agent, text, { approvals: [approve('c1')], onEvent })
  expect(resumed.status).toBe('completed')
  expect(bank.refunds).toHaveLength(1)
  expect(types).toContain('run_item_stream_event')
})

test('the same snapshot resumed twice without a run id pays once, also with each-call', async () => {
  const { guard, agent, model, bank, text } = await paused({ key: 'each-call' })
  const first = await resumeAgent(guard, agent, text, { approvals: [approve('c1')] })
  const second = await resumeAgent(guard, agent, text, { approvals: [approve('c1')] })
  expect(first.runId).toMatch(/^run_[0-9a-f]{32}$/)
  expect(second.runId).toBe(first.runId)
  expect(bank.refunds).toHaveLength(1)
  expect(JSON.parse(toldIn(model)['c1'] ?? '')).toMatchObject({ replayed: true, result: { receipt: 'r-1' } })
})

test('an approved agent tool whose agent pauses goes on, given both decisions, and pays once', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const refund = refundTool(guard, bank, { needsApproval: true })
  const inner = scripted([refund], [[refundCall('c_inner')], done], { name: 'inner' })
  const asking = functionCall('ask_inner', { input: 'refund it' }, { callId: 'c_outer' })
  const outer = scripted(
    [inner.agent.asTool({ toolName: 'ask_inner', needsApproval: true })],
    [[asking], done],
    { name: 'outer' },
  )
  const first = await runAgent(guard, outer.agent, 'go', { runId: 'run_1' })
  expect(first.approvals.map(({ callId }) => callId)).toEqual(['c_outer'])
  const textOf = ({ state }: { state?: typeof first.state }) =>
    serializeState(state as NonNullable<typeof state>)

  const approvals = [approve('c_outer')]
  const second = await resumeAgent(guard, outer.agent, textOf(first), { runId: 'run_1', approvals })
  expect(second.approvals.map(({ callId }) => callId)).toEqual(['c_inner'])
  expect(bank.invoices).toEqual([])

  const both = [...approvals, approve('c_inner')]
  const third = await resumeAgent(guard, outer.agent, textOf(second), { runId: 'run_1', approvals: both })
  expect(third.status).toBe('completed')
  expect(bank.invoices).toEqual(['INV-1'])
})
