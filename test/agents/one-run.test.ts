// `stop` and `abort` of a tool reach the whole run, wherever in it the tool sits.

import { tool, type AgentInputItem } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, GuardDeniedError, guardTool, runAgent, type Guard, type OnDenied } from 'holdpoint'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, refundCall, refundTool, scripted } from './helpers.ts'

const other = (ran: string[]) =>
  tool({
    name: 'other',
    description: 'A sibling',
    parameters: z.object({}),
    execute: () => {
      ran.push('other')
      return 'other ok'
    },
  })

const otherCall = functionCall('other', {}, { callId: 's1' })
const ask = functionCall('ask', { input: 'go' }, { callId: 'o1' })

/** The tool that is denied, made here or gated here. */
function tools(guard: Guard, bank: Bank, gated: boolean, onDenied: OnDenied) {
  if (!gated) return refundTool(guard, bank, { onDenied })
  const foreign = tool({
    name: 'refund',
    description: 'Refunds',
    parameters: z.object({ invoiceId: z.string(), refundNo: z.number(), amountCents: z.number() }),
    execute: (args) => bank.refund(args, { idempotencyKey: '-', signal: new AbortController().signal }),
  })
  return guardTool(foreign, guard.surface('payments'), { onDenied })
}

/** What of a call was kept in the run's state. */
function keptOutputs(state: { history: AgentInputItem[] } | undefined): string[] {
  return (state?.history ?? []).flatMap((item) => (item.type === 'function_call_result' ? [item.callId] : []))
}

const ways = [
  { place: 'an inner agent', streamed: false, gated: false },
  { place: 'an inner agent', streamed: true, gated: false },
  { place: 'an inner agent', streamed: true, gated: true },
  { place: 'a handoff target', streamed: false, gated: false },
  { place: 'a handoff target', streamed: true, gated: false },
  { place: 'a handoff target', streamed: true, gated: true },
]

describe.each(ways)('a tool of $place (streamed $streamed, gated $gated)', ({ place, streamed, gated }) => {
  async function world(onDenied: OnDenied) {
    const { guard, authority } = await startedGuard()
    const bank = new Bank()
    const ran: string[] = []
    const inner = scripted(
      [tools(guard, bank, gated, onDenied), other(ran)],
      [[refundCall('c1'), otherCall], done],
      { name: 'inner' },
    )
    const outer =
      place === 'an inner agent'
        ? scripted([inner.agent.asTool({ toolName: 'ask' }), other(ran)], [[ask, otherCall], done])
        : scripted([], [[functionCall('transfer_to_inner', {}, { callId: 'h1' })], done], {
            handoffs: [inner.agent],
          })
    authority.beforeAnswer = ({ tool: name }) => void (name === 'refund' && authority.stop(PAYMENTS))
    const start = () => runAgent(guard, outer.agent, 'go', streamed ? { onEvent: () => {} } : {})
    return { start, bank, ran, inner, outer, authority }
  }

  test('stop ends the run as denied: no model is called again, and the siblings have finished', async () => {
    const { start, bank, ran, inner, outer } = await world('stop')
    const ended = await start()
    expect(ended).toMatchObject({ status: 'denied', denial: { code: 'DEVICE_REVOKED', on_denied: 'stop' } })
    expect(bank.invoices).toEqual([])
    expect(inner.model.calls).toHaveLength(1)
    expect(outer.model.calls).toHaveLength(1)
    // An inner run's own outputs end with it; what the outer run has finished is kept.
    expect(ran).toEqual(place === 'an inner agent' ? ['other', 'other'] : ['other'])
    const kept = keptOutputs(ended.state)
    expect(kept).toEqual(expect.arrayContaining(place === 'an inner agent' ? ['s1', 'o1'] : ['s1', 'c1']))
  })

  test('abort rejects the run: no model is called again', async () => {
    const { start, bank, inner, outer } = await world('abort')
    const error: unknown = await start().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(GuardDeniedError)
    expect(error).toMatchObject({ code: 'DEVICE_REVOKED', body: { on_denied: 'abort', executed: false } })
    expect(bank.invoices).toEqual([])
    expect(inner.model.calls).toHaveLength(1)
    expect(outer.model.calls).toHaveLength(1)
  })

  test('tell only tells: the run goes on to its end', async () => {
    const { start, bank, inner } = await world('tell')
    expect(await start()).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual([])
    expect(inner.model.calls).toHaveLength(2)
  })
})

test('a stop two agent tools down ends all three runs', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const leaf = scripted([refundTool(guard, bank, { onDenied: 'stop' })], [[refundCall('c1')], done], {
    name: 'leaf',
  })
  const middle = scripted([leaf.agent.asTool({ toolName: 'ask' })], [[ask], done], { name: 'middle' })
  const outer = scripted([middle.agent.asTool({ toolName: 'ask' })], [[ask], done], { name: 'outer' })
  guardAgent(outer.agent, guard.surface('email'))
  authority.stop(PAYMENTS)
  expect(await runAgent(guard, outer.agent, 'go')).toMatchObject({ status: 'denied' })
  expect([leaf, middle, outer].map(({ model }) => model.calls.length)).toEqual([1, 1, 1])
  expect(bank.invoices).toEqual([])
})
