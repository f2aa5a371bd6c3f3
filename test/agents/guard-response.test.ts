import { LLMock } from '@copilotkit/aimock'
import OpenAI from 'openai'
import type { ResponseInput } from 'openai/resources/responses/responses'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool, guardedToolCore, guardResponse } from 'holdpoint'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, refundTool } from './helpers.ts'

const mock = new LLMock({ port: 0 })
let client: OpenAI

beforeAll(async () => {
  await mock.start()
  client = new OpenAI({ apiKey: 'test', baseURL: `${mock.url}/v1`, maxRetries: 0 })
})
beforeEach(() => mock.reset())
afterAll(() => mock.stop())

async function tools() {
  const made = await startedGuard()
  const bank = new Bank()
  const read = guardedTool(made.guard.surface('tool-server'), {
    name: 'read',
    description: 'Read',
    parameters: z.object({ id: z.string() }),
    effects: 'none',
    execute: ({ id }, { context, runId }) => ({ id, context, runId }),
  })
  return { ...made, bank, tools: [refundTool(made.guard, bank), read] }
}

/** Definitions as the Responses API wants them. */
function definitions(guarded: readonly unknown[]) {
  return guarded.map((tool) => {
    const core = guardedToolCore(tool)
    if (core === undefined) throw new Error('not guarded')
    const { name, description, parameters, strict } = core
    return { type: 'function' as const, name, description, parameters, strict }
  })
}

const refund = (id: string, invoiceId: string) => ({
  name: 'refund',
  arguments: JSON.stringify({ invoiceId, refundNo: 1, amountCents: 5 }),
  id,
})

test('a Responses API loop: function calls in, guarded outputs out, in order, and the next request takes them', async () => {
  const { guard, authority, bank, tools: guarded } = await tools()
  const calls = [refund('call_a', 'INV-1'), { name: 'read', arguments: '{"id":"x"}', id: 'call_b' }]
  mock.on({ userMessage: 'refund', hasToolResult: false }, { toolCalls: calls })
  mock.on({ userMessage: 'refund', hasToolResult: true }, { content: 'refunded' })
  const input: ResponseInput = [{ role: 'user', content: 'refund' }]
  const request = { model: 'gpt-test', tools: definitions(guarded) }
  const first = await client.responses.create({ ...request, input })
  const outputs = await guardResponse(guard, guarded, first, { runId: 'run_1', context: { tenant: 'acme' } })
  expect(outputs).toEqual([
    { type: 'function_call_output', call_id: 'call_a', output: '{"receipt":"r-1"}' },
    {
      type: 'function_call_output',
      call_id: 'call_b',
      output: '{"id":"x","context":{"tenant":"acme"},"runId":"run_1"}',
    },
  ])
  const second = await client.responses.create({
    ...request,
    input: [...input, ...(first.output as ResponseInput), ...outputs],
  })
  expect(second.output_text).toBe('refunded')
  expect(bank.invoices).toEqual(['INV-1'])
  expect(authority.questions.filter(({ runId }) => runId === 'run_1')).toHaveLength(3)
})

async function respond(
  toolCalls: { name: string; arguments: string; id: string }[],
  guarded: readonly unknown[],
) {
  mock.on({ userMessage: 'go' }, { toolCalls })
  return client.responses.create({ model: 'gpt-test', tools: definitions(guarded), input: 'go' })
}

test('a revoked surface gives the refusal as output, the others run', async () => {
  const { guard, authority, bank, tools: guarded } = await tools()
  authority.stop(PAYMENTS)
  const response = await respond(
    [refund('call_a', 'INV-1'), { name: 'read', arguments: '{"id":"x"}', id: 'call_b' }],
    guarded,
  )
  const [denied, read] = await guardResponse(guard, guarded, response)
  expect(JSON.parse(denied?.output ?? '')).toMatchObject({ code: 'DEVICE_REVOKED', executed: false })
  expect(read?.output).toBe('{"id":"x","context":{}}')
  expect(bank.refunds).toEqual([])
})

test('an unknown tool and bad arguments give an error text, and run nothing', async () => {
  const { guard, authority, tools: guarded } = await tools()
  const response = await respond(
    [
      { name: 'format_disk', arguments: '{}', id: 'call_a' },
      { name: 'refund', arguments: '{"invoiceId":7}', id: 'call_b' },
      { name: 'refund', arguments: '{"invoiceId"', id: 'call_c' },
    ],
    guarded,
  )
  const outputs = await guardResponse(guard, guarded, response)
  expect(outputs.map(({ output }) => (JSON.parse(output) as { error: string }).error)).toEqual([
    'unknown_tool',
    'bad_arguments',
    'bad_arguments',
  ])
  expect(authority.boundaries).toEqual(['startup'])
})

test('calls run in parallel', async () => {
  const { guard, authority, bank, tools: guarded } = await tools()
  let waiting = 0
  const both = Promise.withResolvers<void>()
  authority.beforeAnswer = ({ boundary }) => {
    if (boundary !== 'tool') return undefined
    waiting += 1
    if (waiting === 2) both.resolve()
    return both.promise
  }
  await guardResponse(
    guard,
    guarded,
    await respond([refund('call_a', 'INV-1'), refund('call_b', 'INV-2')], guarded),
  )
  expect(bank.invoices.sort()).toEqual(['INV-1', 'INV-2'])
})

test('a tool that needs approval is not run here', async () => {
  const { guard } = await tools()
  const bank = new Bank()
  const guarded = [refundTool(guard, bank, { needsApproval: true })]
  const [output] = await guardResponse(guard, guarded, await respond([refund('call_a', 'INV-1')], guarded))
  expect(JSON.parse(output?.output ?? '')).toMatchObject({ code: 'APPROVAL_REQUIRED' })
  expect(bank.refunds).toEqual([])
})

test('a tool of another maker or of another guard is GUARD_MISCONFIGURED', async () => {
  const { guard } = await tools()
  const other = await tools()
  const response = { output: [] }
  await expect(guardResponse(guard, other.tools, response)).rejects.toThrow(
    /"refund" was not made by guardedTool/,
  )
  await expect(guardResponse(guard, [{ name: 'plain' }], response)).rejects.toMatchObject({
    code: 'GUARD_MISCONFIGURED',
  })
  await expect(guardResponse(guard, [null], response)).rejects.toMatchObject({ code: 'GUARD_MISCONFIGURED' })
})
