import { LLMock } from '@copilotkit/aimock'
import { Agent, OpenAIProvider, Runner } from '@openai/agents'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { resumeAgent, runAgent, serializeState } from 'holdpoint'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, refundTool } from './helpers.ts'

// The real openai client over HTTP, against a server that speaks the Responses API.
const mock = new LLMock({ port: 0 })
let runner: Runner

beforeAll(async () => {
  await mock.start()
  const client = new OpenAI({ apiKey: 'test', baseURL: `${mock.url}/v1`, maxRetries: 0 })
  runner = new Runner({ modelProvider: new OpenAIProvider({ openAIClient: client }), model: 'gpt-test' })
})
beforeEach(() => mock.reset())
afterAll(() => mock.stop())

const refund = (id: string, invoiceId: string) => ({
  name: 'refund',
  arguments: JSON.stringify({ invoiceId, refundNo: 1, amountCents: 5 }),
  id,
})

async function refunding(
  toolCalls: ReturnType<typeof refund>[],
  options: Parameters<typeof refundTool>[2] = {},
) {
  const made = await startedGuard()
  const bank = new Bank()
  mock.on({ userMessage: 'refund', hasToolResult: false }, { toolCalls })
  // The answer repeats what the model was told.
  mock.on({ userMessage: 'refund', hasToolResult: true }, ({ messages }) => ({
    content: JSON.stringify(messages.filter(({ role }) => role === 'tool').map(({ content }) => content)),
  }))
  const agent = new Agent({ name: 'support', tools: [refundTool(made.guard, bank, options)] })
  const told = (output: unknown) =>
    (JSON.parse(String(output)) as string[]).map((text) => JSON.parse(text) as Record<string, unknown>)
  return { ...made, bank, agent, told }
}

test('a run with a payment', async () => {
  const { agent, bank, told } = await refunding([refund('call_a', 'INV-1')])
  const result = await runner.run(agent, 'refund INV-1')
  expect(bank.invoices).toEqual(['INV-1'])
  expect(told(result.finalOutput)).toEqual([{ receipt: 'r-1' }])
})

test('a payment that streams, with every model call asked for', async () => {
  const { guard, authority, agent, bank, told } = await refunding([refund('call_a', 'INV-1')])
  let text = ''
  const ended = await runAgent(guard, agent, 'refund INV-1', {
    runner,
    onEvent: (event) => {
      if (event.type === 'raw_model_stream_event' && event.data.type === 'output_text_delta')
        text += event.data.delta
    },
  })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(told(ended.output)).toEqual([{ receipt: 'r-1' }])
  expect(text).toBe(ended.output)
  expect(authority.boundaries).toEqual(['startup', 'task', 'tool', 'side_effect', 'task'])
})

test('parallel calls of a revoked surface: each is denied, and each is told', async () => {
  const { authority, agent, bank, told } = await refunding([
    refund('call_a', 'INV-1'),
    refund('call_b', 'INV-2'),
  ])
  authority.stop(PAYMENTS)
  const result = await runner.run(agent, 'refund both')
  expect(bank.refunds).toEqual([])
  expect(told(result.finalOutput).map(({ code }) => code)).toEqual(['DEVICE_REVOKED', 'DEVICE_REVOKED'])
})

test('approval and resume', async () => {
  const { guard, agent, bank, told } = await refunding([refund('call_a', 'INV-1')], { needsApproval: true })
  const paused = await runAgent(guard, agent, 'refund INV-1', { runner, runId: 'run_1' })
  expect(paused.approvals).toMatchObject([{ callId: 'call_a', tool: 'refund' }])
  const text = paused.state === undefined ? '' : serializeState(paused.state)
  const approvals = paused.approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
  const ended = await resumeAgent(guard, agent, text, { runner, runId: 'run_1', approvals })
  expect(bank.invoices).toEqual(['INV-1'])
  expect(told(ended.output)).toEqual([{ receipt: 'r-1' }])
})

test('stop: the model is not called again', async () => {
  const { guard, authority, agent } = await refunding([refund('call_a', 'INV-1')], { onDenied: 'stop' })
  authority.stop(PAYMENTS)
  expect(await runAgent(guard, agent, 'refund INV-1', { runner })).toMatchObject({ status: 'denied' })
  expect(mock.getRequests()).toHaveLength(1)
})

test('a model error rejects as it is', async () => {
  const { guard, agent } = await refunding([refund('call_a', 'INV-1')])
  mock.nextRequestError(500, { message: 'boom' })
  await expect(runAgent(guard, agent, 'refund INV-1', { runner })).rejects.toMatchObject({ status: 500 })
})
