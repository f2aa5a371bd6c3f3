import { Agent, run, RunContext, toolNamespace } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool, guardedToolCore, type Guard } from 'holdpoint'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, refundCall, refundTool, refusalIn, scripted, toldIn } from './helpers.ts'

const args = { invoiceId: 'INV-1', refundNo: 1, amountCents: 500 }

async function needingApproval() {
  const made = await startedGuard()
  const bank = new Bank()
  return { ...made, bank, refund: refundTool(made.guard, bank, { needsApproval: true }) }
}

test('an approval through the SDK: the run pauses, and the approved call asks and runs', async () => {
  const { bank, refund, authority } = await needingApproval()
  const { agent, model } = scripted([refund], [[refundCall('c1')], done])
  const paused = await run(agent, 'go')
  expect(paused.interruptions).toHaveLength(1)
  expect(authority.boundaries).toEqual(['startup'])
  paused.state.approve(paused.interruptions[0] as never)
  expect((await run(agent, paused.state)).finalOutput).toBe('done')
  expect(bank.invoices).toEqual(['INV-1'])
  expect(toldIn(model)['c1']).toBe('{"receipt":"r-1"}')
})

test('an approval is not a permit: the approved call of a revoked surface does not run', async () => {
  const { bank, refund, authority } = await needingApproval()
  const { agent, model } = scripted([refund], [[refundCall('c1')], done])
  const paused = await run(agent, 'go')
  authority.stop(PAYMENTS)
  paused.state.approve(paused.interruptions[0] as never)
  await run(agent, paused.state)
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'c1').code).toBe('DEVICE_REVOKED')
})

test('a decline never executes', async () => {
  const { bank, refund, authority } = await needingApproval()
  const { agent, model } = scripted([refund], [[refundCall('c1')], done])
  const paused = await run(agent, 'go')
  paused.state.reject(paused.interruptions[0] as never, { message: 'too much' })
  await run(agent, paused.state)
  expect(bank.refunds).toEqual([])
  expect(toldIn(model)['c1']).toBe('too much')
  expect(authority.boundaries).toEqual(['startup'])
})

test('alwaysApprove is refused: APPROVAL_REQUIRED, for this call and for the next', async () => {
  const { bank, refund, lines } = await needingApproval()
  const { agent, model } = scripted([refund], [[refundCall('c1')], [refundCall('c2', 'INV-2')], done])
  const paused = await run(agent, 'go')
  paused.state.approve(paused.interruptions[0] as never, { alwaysApprove: true })
  await run(agent, paused.state)
  expect(bank.refunds).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ error: 'approval_required', code: 'APPROVAL_REQUIRED' })
  expect(refusalIn(model, 'c2').code).toBe('APPROVAL_REQUIRED')
  expect(lines.filter((line) => line['code'] === 'APPROVAL_REQUIRED')).toHaveLength(2)
})

test('an approval of arguments that JSON does not show whole is refused: nobody can have seen them', async () => {
  const { guard } = await startedGuard()
  let ran = false
  const transfer = guardedTool(guard.surface('payments'), {
    name: 'transfer',
    description: 'Transfer',
    parameters: z.object({ lines: z.preprocess((all) => new Map(Object.entries(all as object)), z.any()) }),
    needsApproval: true,
    effects: 'none',
    execute: () => (ran = true),
  })
  const { agent, model } = scripted(
    [transfer],
    [[functionCall('transfer', { lines: { 'acct-9': 1_000_000 } }, { callId: 'c1' })], done],
  )
  const paused = await run(agent, 'go')
  paused.state.approve(paused.interruptions[0] as never)
  await run(agent, paused.state)
  expect(ran).toBe(false)
  expect(refusalIn(model, 'c1').code).toBe('APPROVAL_REQUIRED')
})

test('an approval of one call is no approval of another call of the same tool', async () => {
  const { bank, refund } = await needingApproval()
  const { agent } = scripted([refund], [[refundCall('c1'), refundCall('c2', 'INV-2')], done])
  const paused = await run(agent, 'go')
  expect(paused.interruptions).toHaveLength(2)
  paused.state.approve(paused.interruptions[1] as never)
  const again = await run(agent, paused.state)
  expect(again.interruptions).toHaveLength(1)
  expect(bank.invoices).toEqual(['INV-2'])
})

test('without a run nothing runs: direct invoke and hosts get APPROVAL_REQUIRED, logged like any denial', async () => {
  const { bank, refund, authority, lines } = await needingApproval()
  const answer = await guardedToolCore(refund)?.call({ arguments: args, callId: 'c1' })
  expect(answer).toMatchObject({
    kind: 'refused',
    body: {
      error: 'approval_required',
      code: 'APPROVAL_REQUIRED',
      boundary: 'tool',
      executed: false,
      request_id: expect.stringMatching(/^local_/),
    },
  })
  const text = await refund.invoke(new RunContext(), JSON.stringify(args))
  expect(JSON.parse(text)).toMatchObject({ code: 'APPROVAL_REQUIRED' })
  const forged = await refund.invoke(new RunContext(), JSON.stringify(args), {
    toolCall: { type: 'function_call', name: 'refund', callId: 'c1', arguments: '{}' },
  })
  expect(JSON.parse(forged)).toMatchObject({ code: 'APPROVAL_REQUIRED' })
  expect(bank.refunds).toEqual([])
  expect(authority.boundaries).toEqual(['startup'])
  expect(lines.at(-1)).toMatchObject({
    boundary: 'tool',
    allowed: false,
    code: 'APPROVAL_REQUIRED',
    tool: 'refund',
  })
})

test('an approval counts for its own call id only, also where somebody invokes the tool with the run context', async () => {
  const { bank, refund } = await needingApproval()
  const { agent } = scripted([refund], [[refundCall('c1')]])
  const paused = await run(agent, 'go')
  const runContext = new RunContext()
  runContext.approveTool(paused.interruptions[0] as never)
  const invoke = (callId: string) =>
    refund.invoke(runContext, JSON.stringify(args), {
      toolCall: { type: 'function_call', name: 'refund', callId, arguments: '' },
    })
  expect(JSON.parse(await invoke('c2'))).toMatchObject({ code: 'APPROVAL_REQUIRED' })
  expect(bank.refunds).toEqual([])
  expect(await invoke('c1')).toBe('{"receipt":"r-1"}')
})

function overLimit(guard: Guard, bank: Bank) {
  return guardedTool(guard.surface('payments'), {
    name: 'refund',
    description: 'x',
    parameters: z.object({ invoiceId: z.string(), amountCents: z.number() }),
    needsApproval: async (_context, { amountCents }) => amountCents > 100,
    effect: 'payment',
    key: ({ invoiceId }) => invoiceId,
    commit: (input, effect) => bank.refund(input, effect),
  })
}

test('needsApproval as a function is asked again with the parsed arguments where no run asked it', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const core = guardedToolCore(overLimit(guard, bank))
  expect(await core?.call({ arguments: { invoiceId: 'A', amountCents: 101 }, callId: 'c1' })).toMatchObject({
    body: { code: 'APPROVAL_REQUIRED' },
  })
  expect(await core?.call({ arguments: { invoiceId: 'B', amountCents: 100 }, callId: 'c2' })).toMatchObject({
    kind: 'output',
  })
  expect(bank.invoices).toEqual(['B'])
})

test('a needsApproval that throws runs nothing', async () => {
  const { guard } = await startedGuard()
  let ran = false
  const tool = guardedTool(guard.surface('payments'), {
    name: 'x',
    description: 'x',
    parameters: z.object({}),
    needsApproval: async () => {
      throw new Error('policy store down at 10.0.0.7')
    },
    effects: 'none',
    execute: () => (ran = true),
  })
  const answer = await guardedToolCore(tool)?.call({ arguments: {} })
  expect(answer).toMatchObject({ body: { error: 'tool_failed', executed: false } })
  expect(answer?.output).not.toContain('10.0.0.7')
  expect(ran).toBe(false)
})

test('bad arguments are told before anybody is asked to approve them', async () => {
  const { refund } = await needingApproval()
  expect(await guardedToolCore(refund)?.call({ arguments: { invoiceId: 7 } })).toMatchObject({
    kind: 'bad_arguments',
  })
})

test('approval works for a tool in a namespace', async () => {
  const { bank, refund } = await needingApproval()
  const tools = toolNamespace({ name: 'billing', description: 'Billing', tools: [refund] })
  const call = functionCall('refund', args, { callId: 'c1', namespace: 'billing' })
  const { agent } = scripted(tools, [[call], done])
  const paused = await run(agent, 'go')
  paused.state.approve(paused.interruptions[0] as never)
  expect((await run(agent, paused.state)).finalOutput).toBe('done')
  expect(bank.invoices).toEqual(['INV-1'])
})

test('an approval inside an agent that is a tool reaches the inner call', async () => {
  const { bank, refund } = await needingApproval()
  const inner = scripted([refund], [[refundCall('i1')], done], { name: 'inner' })
  const model = new ScriptedModel([[functionCall('ask_inner', { input: 'go' }, { callId: 'o1' })], done])
  const outer = new Agent({ name: 'outer', model, tools: [inner.agent.asTool({ toolName: 'ask_inner' })] })
  const paused = await run(outer, 'go')
  expect(paused.interruptions).toHaveLength(1)
  paused.state.approve(paused.interruptions[0] as never)
  expect((await run(outer, paused.state)).finalOutput).toBe('done')
  expect(bank.invoices).toEqual(['INV-1'])
})
