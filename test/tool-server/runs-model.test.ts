import { readFileSync } from 'node:fs'
import { LLMock } from '@copilotkit/aimock'
import { Agent, OpenAIProvider, Runner } from '@openai/agents'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'

import { guardedTool } from '../../src/agents/guarded-tool.ts'
import type { Guard } from '../../src/guard/guard.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import { runMain, temporaryDirectory } from '../fixtures/program.ts'
import { startRunsWorld, type RunsWorld } from './runs-world.ts'

// The real openai client over HTTP, against a server that speaks the Responses API.
const mock = new LLMock({ port: 0 })
const paid: string[] = []
let world: RunsWorld

beforeAll(() => mock.start())
afterAll(() => mock.stop())
beforeEach(async () => {
  mock.reset()
  paid.length = 0
  const modelProvider = new OpenAIProvider({ apiKey: 'test', baseURL: `${mock.url}/v1` })
  const runner = new Runner({ modelProvider, model: 'gpt-test', tracingDisabled: true })
  world = await startRunsWorld({ agents: (guard) => [{ agent: cashier(guard), runner }] })
})
afterEach(() => world[Symbol.asyncDispose]())

const cashier = (guard: Guard) =>
  new Agent({
    name: 'cashier',
    tools: [
      guardedTool(guard.surface('payments'), {
        name: 'pay_invoice',
        description: 'Pay one invoice in full',
        parameters: z.object({ invoiceId: z.string() }),
        needsApproval: true,
        effect: 'payment',
        key: ({ invoiceId }) => invoiceId,
        commit: ({ invoiceId }) => {
          paid.push(invoiceId)
          return { paid: invoiceId }
        },
      }),
    ],
  })

const start = (input = 'pay it', runId = 'r1') => world.post('/runs', { agent: 'cashier', runId, input })

function modelCalls(name: string, args: string) {
  mock.on({ hasToolResult: false }, { toolCalls: [{ name, arguments: args, id: 'call_a' }] })
  mock.on({ hasToolResult: true }, { content: 'As you wish.' })
}

describe('a hosted run on a real client', () => {
  test('pauses, is approved, resumes, and pays once', async () => {
    modelCalls('pay_invoice', '{"invoiceId":"INV-1"}')
    expect((await start()).body).toMatchObject({
      status: 'interrupted',
      approvals: [{ callId: 'call_a', arguments: { invoiceId: 'INV-1' } }],
    })
    await world.approveAll('r1')
    expect((await world.post('/runs/r1/resume', {})).body).toMatchObject({
      status: 'completed',
      output: 'As you wish.',
    })
    expect(paid).toEqual(['INV-1'])
  })

  test('streams what the model says', async () => {
    mock.on({ hasToolResult: false }, { content: 'Nothing to pay.' })
    using stream = await world.stream('/runs', { agent: 'cashier', input: 'hello' })
    await stream.closed
    const said = stream.events.filter(({ event }) => event === 'message').map(({ data }) => data.text)
    expect(said.join('')).toBe('Nothing to pay.')
    expect(stream.events.at(-1)?.data.run).toMatchObject({ status: 'completed', output: 'Nothing to pay.' })
  })

  test('a model that refuses is a failed run, answered 200, with no stack and no key', async () => {
    for (let turn = 0; turn < 5; turn++) mock.nextRequestError(400, { message: 'boom sk-secret' })
    const { status, body } = await start()
    expect([status, body.status]).toEqual([200, 'failed'])
    expect(JSON.stringify(body)).not.toMatch(/sk-secret|\.ts:\d|node_modules/)
  })

  test('a call of a tool that there is none of, or with malformed arguments, runs nothing', async () => {
    modelCalls('no_such_tool', '{}')
    expect((await start('pay it', 'r1')).body.status).toBe('failed')
    mock.reset()
    modelCalls('pay_invoice', '{"invoiceId":')
    const malformed = (await start('pay it', 'r2')).body
    expect(['completed', 'failed']).toContain(malformed.status)
    expect([malformed.approvals, paid]).toEqual([[], []])
  })
})

test('OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL choose the model of accounts-assistant', async () => {
  await using authority = await startTestControlPlane()
  await using dir = await temporaryDirectory()
  mock.on({ hasToolResult: false }, { content: 'From the model.' })
  const program = runMain(['tool-server'], {
    DATA_DIR: dir.path,
    TOOL_SERVER_PORT: '0',
    MACHINEID_BASE_URL: authority.url,
    MACHINEID_ORG_KEY: authority.keys.runtime,
    OPENAI_API_KEY: 'sk-test',
    OPENAI_BASE_URL: `${mock.url}/v1`,
    OPENAI_MODEL: 'gpt-chosen',
  })
  await program.printed('tool server is listening')
  const { callerToken } = JSON.parse(readFileSync(`${dir.path}/tool-server.json`, 'utf8')) as {
    callerToken: string
  }
  const line = program
    .output()
    .split('\n')
    .find((text) => text.includes('is listening'))
  const { url, model } = JSON.parse(line ?? '') as { url: string; model: string }
  expect(model).toBe('gpt-chosen')
  const response = await fetch(`${url}/runs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${callerToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ agent: 'accounts-assistant', input: 'hello' }),
  })
  expect(await response.json()).toMatchObject({ status: 'completed', output: 'From the model.' })
  expect(mock.getRequests().map(({ body }) => (body as { model?: string } | null)?.model)).toEqual([
    'gpt-chosen',
  ])
  expect(program.output()).not.toContain('sk-test')
})
