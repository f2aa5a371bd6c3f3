// A model may give two calls the same id. The SDK takes identical ones for one call, and ends a run in which one id
// stands for two different calls. Here: nothing runs that nobody approved, nothing runs twice, and nothing hangs.

import { tool, type FunctionCallItem } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, type Guard } from 'holdpoint'
import type { ApprovalDesk, ApprovalRequest } from '../../../src/agents/hosted/approval-desk.ts'
import { done, refundCall, refundTool, scripted, toldIn, type Bank, type RefundOptions } from '../helpers.ts'
import { ann, boss, cashierWorld, decideAll, hostedWorld } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }
const MISBEHAVED = { status: 'failed', approvals: [], error: { code: 'MODEL_MISBEHAVED' } }

describe('two identical calls under one id in one response are one call', () => {
  test.each([{}, { key: 'each-call' as const }])('asked, approved and paid once: %o', async (refund) => {
    const { runs, bank, model } = await cashierWorld([[refundCall('c1'), refundCall('c1')], done], { refund })
    expect((await runs.start(ann, start)).approvals).toHaveLength(1)
    expect(bank.invoices).toEqual([])
    await decideAll(runs, 'run_1', true)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual(['INV-1'])
    expect(toldIn(model)['c1']).toBe('{"receipt":"r-1"}')
    expect((await runs.show(boss, 'run_1')).allApprovals).toMatchObject([{ state: 'used' }])
  })

  test('declined: none of the two runs', async () => {
    const { runs, bank } = await cashierWorld([[refundCall('c1'), refundCall('c1')], done])
    await runs.start(ann, start)
    await decideAll(runs, 'run_1', false)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual([])
  })

  test('without approval: paid once', async () => {
    const refund = { needsApproval: false, key: 'each-call' as const }
    const { runs, bank } = await cashierWorld([[refundCall('c1'), refundCall('c1')], done], { refund })
    expect(await runs.start(ann, start)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual(['INV-1'])
  })
})

describe('two different calls under one id in one response end the run before anybody is asked', () => {
  test.each([true, false])('needsApproval: %s', async (needsApproval) => {
    const script = [[refundCall('c1'), refundCall('c1', 'INV-2')], done]
    const { runs, bank } = await cashierWorld(script, { refund: { needsApproval } })
    expect(await runs.start(ann, start)).toMatchObject(MISBEHAVED)
    expect(bank.invoices).toEqual([])
    // Asked again, the model behaves.
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual([])
  })

  test('also calls of two tools, one guarded, one gated', async () => {
    const ran: string[] = []
    const { runs, bank } = await twoTools(ran, [[refundCall('c1'), noteCall('c1')], done])
    expect(await runs.start(ann, start)).toMatchObject(MISBEHAVED)
    expect([bank.invoices, ran]).toEqual([[], []])
  })
})

describe('an id that comes again in a later response', () => {
  test('with the same arguments, after it was paid: not paid again, also under a key of its own', async () => {
    const refund = { key: 'each-call' as const }
    const { runs, bank } = await cashierWorld([[refundCall('c1')], [refundCall('c1')], done], { refund })
    await runs.start(ann, start)
    await decideAll(runs, 'run_1', true)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual(['INV-1'])
  })

  test.each([
    ['approved', ['INV-1']],
    ['declined', []],
  ])('with other arguments, after the first was %s: nothing more runs', async (decided, paid) => {
    const { runs, bank } = await cashierWorld([[refundCall('c1')], [refundCall('c1', 'INV-2')], done])
    await runs.start(ann, start)
    await decideAll(runs, 'run_1', decided === 'approved')
    expect(await runs.resume(ann, resume)).toMatchObject(MISBEHAVED)
    expect(bank.invoices).toEqual(paid)
  })
})

describe('one id in two agents of one run, which the SDK keeps apart', () => {
  test('with different arguments: each runs when it was approved itself', async () => {
    const { runs, bank } = await nestedWorld(refundCall('c1'), refundCall('c1', 'INV-2'))
    const { approvals } = await runs.start(ann, start)
    const [first, second] = approvals
    expect(approvals).toMatchObject([{ callId: 'c1' }, { callId: 'c1' }])
    const decision = { callId: 'c1', digest: first?.digest ?? '', approve: true }
    await runs.decide(boss, 'run_1', [decision])
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'interrupted', approvals: [second] })
    expect(bank.invoices).toEqual(['INV-1'])
    await decideAll(runs, 'run_1', true)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual(['INV-1', 'INV-2'])
  })

  test('with equal arguments: nobody can tell them apart, so they cannot be approved, but declined', async () => {
    const { runs, bank, store } = await nestedWorld(refundCall('c1'), refundCall('c1'))
    const { approvals } = await runs.start(ann, start)
    expect(approvals).toMatchObject([{ callId: 'c1' }, { callId: 'c1' }])
    const decision = { callId: 'c1', digest: approvals[0]?.digest ?? '', approve: true }
    await expect(runs.decide(boss, 'run_1', [decision])).rejects.toMatchObject({ code: 'APPROVAL_UNKNOWN' })
    // They go on waiting as they are.
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'interrupted', approvals })
    expect((await runs.show(boss, 'run_1')).allApprovals).toHaveLength(2)
    await runs.decide(boss, 'run_1', [{ ...decision, approve: false }])
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual([])
    expect(await store.runs.waitingApprovals(10)).toEqual([])
  })

  test('with equal arguments in a run that is cancelled: none waits any more', async () => {
    const { runs, store } = await nestedWorld(refundCall('c1'), refundCall('c1'))
    await runs.start(ann, start)
    await runs.cancel(ann, 'run_1', undefined)
    expect(await store.runs.waitingApprovals(10)).toEqual([])
  })

  test.each([
    ['first', []],
    ['second', ['INV-1']],
  ])('a desk that approves only the %s of them: never two payments', async (which, paid) => {
    const asked: ApprovalRequest[] = []
    const desk: ApprovalDesk = {
      ask: async (requests) => void asked.push(...requests),
      verdictsOn: async () =>
        [which === 'first' ? asked[0] : asked[1]].flatMap((one) =>
          one === undefined
            ? []
            : [{ approvalId: one.approvalId, digest: one.digest, approve: true, by: 'boss' }],
        ),
      withdraw: async () => {},
    }
    const { runs, bank } = await nestedWorld(refundCall('c1'), refundCall('c1'), { desk, key: 'each-call' })
    await runs.start(ann, start)
    expect(bank.invoices).toEqual([])
    await runs.resume(ann, resume)
    expect(bank.invoices).toEqual(paid)
  })
})

function noteCall(callId: string) {
  return functionCall('note', { text: 'x' }, { callId })
}

/** A guarded tool and a gated one, each needing approval. */
async function twoTools(ran: string[], script: Parameters<typeof scripted>[1]) {
  return hostedWorld({
    agents: (guard, bank) => {
      const note = tool({
        name: 'note',
        description: 'Note',
        parameters: z.object({ text: z.string() }),
        needsApproval: true,
        execute: ({ text }) => (ran.push(text), 'noted'),
      })
      const tools = [refundTool(guard, bank, { needsApproval: true }), note]
      const { agent } = scripted(tools, script, { name: 'cashier' })
      guardAgent(agent, guard.surface('payments'))
      return [{ agent }]
    },
  })
}

/** An agent that asks two others at once, each of which makes its call. */
async function nestedWorld(
  first: FunctionCallItem,
  second: FunctionCallItem,
  { desk, ...refund }: RefundOptions & { desk?: ApprovalDesk } = {},
) {
  const agents = (guard: Guard, bank: Bank) => {
    const tools = [first, second].map((call, at) => {
      const own = [refundTool(guard, bank, { needsApproval: true, ...refund })]
      const inner = scripted(own, [[call], done], { name: `inner_${at}` }).agent
      return inner.asTool({ toolName: `ask_${at}`, toolDescription: 'Ask' })
    })
    const asking = tools.map(({ name }) => functionCall(name, { input: 'go' }, { callId: name }))
    const { agent } = scripted(tools, [asking, done], { name: 'cashier' })
    guardAgent(agent, guard.surface('payments'))
    return [{ agent }]
  }
  return hostedWorld({ agents, ...(desk === undefined ? {} : { desk }) })
}
