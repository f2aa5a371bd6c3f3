import { createServer } from 'node:http'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Agent, MCPServerStreamableHttp, run, Runner } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import express from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'

import { guardedToolCore } from '../../src/agents/guarded-tool.ts'
import type { GuardedToolCore } from '../../src/agents/tool-answer.ts'
import { closeServer, listen } from '../../src/http.ts'
import { identify } from '../../src/tool-server/auth.ts'
import { mcpRoute } from '../../src/tool-server/mcp.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { createBank, testTools } from './tools.ts'
import { PAYMENTS, startTestToolServer, type TestToolServer } from './start.ts'

const bank = createBank()
let server: TestToolServer
let client: Client

beforeAll(async () => {
  server = await startTestToolServer({ tools: (guard) => testTools(guard, bank) })
  client = await connect(server.token)
})
afterAll(async () => {
  await client.close()
  await server.close()
})
afterEach(() => {
  bank.charges.length = 0
  bank.refunds.length = 0
})

async function connect(token: string, legacy = false, url = server.url): Promise<Client> {
  const made = new Client(
    { name: 'test', version: '1.0.0' },
    { versionNegotiation: { mode: legacy ? 'legacy' : 'auto' } },
  )
  await made.connect(
    new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    }),
  )
  return made
}

let calls = 0
const newIds = () => ({ 'holdpoint/call_id': `call_${(calls += 1)}`, 'holdpoint/run_id': 'run_1' })

async function call(
  name: string,
  args: Record<string, unknown>,
  meta?: Record<string, unknown>,
  by = client,
) {
  const result = await by.callTool({ name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) })
  const [content] = result.content as { type: string; text: string }[]
  return { isError: result.isError === true, text: content?.text ?? '', meta: result._meta ?? {} }
}

describe.each([
  ['2026-07-28', false],
  ['2025', true],
])('/mcp for a client of the protocol of %s', (_era, legacy) => {
  let own: Client
  beforeAll(async () => {
    own = await connect(server.token, legacy)
  })
  afterAll(() => own.close())

  test('lists the tools with the schema that GET /tools gives', async () => {
    const { tools } = await own.listTools()
    const { body } = await server.get('/tools')
    expect(tools.map(({ name, inputSchema }) => [name, inputSchema])).toEqual(
      body.map((tool: { name: string; parameters: object }) => [
        tool.name,
        expect.objectContaining(tool.parameters),
      ]),
    )
  })

  test('gives the output and the request id of the decision', async () => {
    const answer = await call('echo', { text: 'hello' }, newIds(), own)
    expect(answer).toMatchObject({ isError: false, text: 'hello' })
    expect(answer.meta).toMatchObject({
      'holdpoint/replayed': false,
      'holdpoint/request_id': expect.not.stringMatching(/^local_/),
    })
  })

  test('the same call id again: the stored result, marked as replayed, and no second effect', async () => {
    const ids = newIds()
    await call('charge_card', { amountCents: 5 }, ids, own)
    const again = await call('charge_card', { amountCents: 5 }, ids, own)
    expect(again.meta).toMatchObject({ 'holdpoint/replayed': true })
    expect(bank.charges).toEqual([ids['holdpoint/call_id']])
  })
})

test('a client that gives up aborts the body', async () => {
  const controller = new AbortController()
  const waiting = client
    .callTool({ name: 'wait', arguments: { name: 'mcp' } }, { signal: controller.signal })
    .catch(() => 'gave up')
  await vi.waitFor(() => expect(bank.started).toContain('mcp'))
  controller.abort()
  expect(await waiting).toBe('gave up')
  await vi.waitFor(() => expect(bank.aborted).toContain('mcp'))
})

test('a client of the protocol of 2025 that disconnects aborts the body', async () => {
  const controller = new AbortController()
  const waiting = fetch(`${server.url}/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${server.token}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'wait', arguments: { name: 'mcp 2025' } },
    }),
    signal: controller.signal,
  }).then(
    (response) => response.text(),
    () => 'gave up',
  )
  await vi.waitFor(() => expect(bank.started).toContain('mcp 2025'))
  controller.abort()
  await waiting.catch(() => {})
  await vi.waitFor(() => expect(bank.aborted).toContain('mcp 2025'))
})

describe('ids over MCP', () => {
  test('a JSON-RPC id is never a call id: an each-call payment without a call id is refused', async () => {
    const answer = await call('charge_card', { amountCents: 5 })
    expect(answer.isError).toBe(true)
    expect(JSON.parse(answer.text)).toMatchObject({ code: 'CALL_ID_REQUIRED', executed: false })
    expect(bank.charges).toEqual([])
  })

  test('without a call id only a business key survives a retry', async () => {
    await call('refund_invoice', { invoiceId: 'INV-10', amountCents: 5 })
    const again = await call('refund_invoice', { invoiceId: 'INV-10', amountCents: 5 })
    expect(again.meta).toMatchObject({ 'holdpoint/replayed': true })
    expect(bank.refunds).toEqual(['INV-10'])
  })

  test('another caller with the same call id never gets the stored result', async () => {
    const ids = newIds()
    const other = await connect(server.otherToken)
    await call('charge_card', { amountCents: 5 }, ids)
    const answer = await call('charge_card', { amountCents: 5 }, ids, other)
    await other.close()
    expect(answer.meta).toMatchObject({ 'holdpoint/replayed': false })
    expect(bank.charges).toHaveLength(2)
  })

  test.each([
    ['a call id that is empty', { 'holdpoint/call_id': '' }],
    ['a call id with a line break', { 'holdpoint/call_id': 'a\nb' }],
    ['a run id that is a number', { 'holdpoint/run_id': 7 }],
  ])('%s: nothing runs', async (_name, meta) => {
    const answer = await call('charge_card', { amountCents: 5 }, { ...newIds(), ...meta })
    expect(answer.isError).toBe(true)
    expect(JSON.parse(answer.text)).toMatchObject({ code: 'BAD_REQUEST', executed: false })
    expect(bank.charges).toEqual([])
  })
})

describe('refusals over MCP are results, never protocol errors', () => {
  test('a denial is the same text as over HTTP', async () => {
    await server.authority.revoke(PAYMENTS)
    const overMcp = await call('refund_invoice', { invoiceId: 'INV-11', amountCents: 5 }, newIds())
    const overHttp = await server.call('refund_invoice', {
      call_id: 'call_http',
      arguments: { invoiceId: 'INV-11', amountCents: 5 },
    })
    await server.authority.restore(PAYMENTS)
    expect(overMcp.isError).toBe(true)
    const told = JSON.parse(overMcp.text)
    expect(told).toMatchObject({ error: 'permission_denied', code: 'DEVICE_REVOKED', executed: false })
    expect(overMcp.meta['holdpoint/request_id']).toBe(told.request_id)
    expect({ ...told, request_id: '' }).toEqual({ ...JSON.parse(overHttp.body.output), request_id: '' })
    expect(bank.refunds).toEqual([])
  })

  test('bad arguments are told the same way as over HTTP', async () => {
    const overMcp = await call('echo', { text: 7 }, newIds())
    const overHttp = await server.call('echo', { arguments: { text: 7 } })
    expect(overMcp).toMatchObject({ isError: true, text: overHttp.body.output })
  })

  test.each([
    ['approved_payment', 'APPROVAL_REQUIRED'],
    ['declined_payment', 'EFFECT_NOT_PERFORMED'],
    ['lost_payment', 'OUTCOME_UNKNOWN'],
    ['broken', 'TOOL_FAILED'],
  ])('%s: %s, without what was thrown', async (tool, code) => {
    const answer = await call(tool, {}, newIds())
    expect(answer.isError).toBe(true)
    expect(JSON.parse(answer.text)).toMatchObject({ code })
    expect(JSON.stringify(answer)).not.toMatch(/hunter2|\.internal/)
    expect(bank.charges).toEqual([])
  })
})

test('a tool that breaks its promise never to reject leaks nothing', async () => {
  const { guard, lines } = await startedGuard()
  const [echo] = testTools(guard, bank)
  const broken: GuardedToolCore = {
    ...(guardedToolCore(echo) as GuardedToolCore),
    call: () => Promise.reject(new Error('password=hunter2')),
  }
  const route = mcpRoute({ tools: new Map([['echo', broken]]), name: 'x', version: '1', log: guard.log })
  const app = express().use(identify(undefined, guard.log)).use(route.router)
  const own = createServer(app)
  const { url } = await listen(own, { host: '127.0.0.1', port: 0 })
  const ownClient = await connect('', false, url)
  const answer = await call('echo', { text: 'x' }, newIds(), ownClient)
  await ownClient.close()
  await closeServer(own)
  await route.close()
  expect(answer.isError).toBe(true)
  expect(JSON.parse(answer.text)).toMatchObject({ code: 'INTERNAL_ERROR' })
  expect(answer.text).not.toContain('hunter2')
  expect(JSON.stringify(lines)).toContain('hunter2')
})

describe('what reaches /mcp', () => {
  const ACCEPT = { accept: 'application/json, text/event-stream' }
  const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }

  test.each([
    ['without a token', { authorization: '' }, 401, 'CALLER_UNAUTHENTICATED'],
    ['from a page of another origin', { origin: 'https://evil.example' }, 403, 'ORIGIN_NOT_ALLOWED'],
  ])('%s: %s', async (_name, headers, status, code) => {
    const answer = await server.post('/mcp', list, headers)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })

  test.each([
    ['malformed JSON', '{"jsonrpc":', 400],
    ['more than 1 MiB', JSON.stringify({ ...list, params: { x: 'x'.repeat(1024 * 1024) } }), 413],
  ])('%s is refused', async (_name, body, status) => {
    expect((await server.post('/mcp', body, ACCEPT)).status).toBe(status)
  })

  test('another content type is refused', async () => {
    expect((await server.post('/mcp', list, { 'content-type': 'text/plain' })).status).toBe(415)
  })

  test('the tool that is guarded is the one in the body, whatever a header says', async () => {
    await server.authority.revoke(PAYMENTS)
    const body = {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'refund_invoice', arguments: { invoiceId: 'INV-12', amountCents: 5 } },
    }
    const response = await fetch(`${server.url}/mcp`, {
      method: 'POST',
      headers: {
        ...ACCEPT,
        authorization: `Bearer ${server.token}`,
        'content-type': 'application/json',
        'mcp-name': 'echo',
        'mcp-method': 'tools/list',
      },
      body: JSON.stringify(body),
    })
    const text = await response.text()
    await server.authority.restore(PAYMENTS)
    expect(text).toContain('DEVICE_REVOKED')
    expect(bank.refunds).toEqual([])
  })
})

describe("the Agents SDK's own MCP client", () => {
  test('a denial reaches the model as it is, the run goes on, and nothing runs', async () => {
    const mcp = new MCPServerStreamableHttp({
      url: `${server.url}/mcp`,
      name: 'tools',
      requestInit: { headers: { authorization: `Bearer ${server.token}` } },
    })
    await mcp.connect()
    const model = new ScriptedModel([
      [functionCall('refund_invoice', { invoiceId: 'INV-13', amountCents: 5 }, { callId: 'call_a' })],
      [assistantMessage('It was refused.')],
    ])
    await server.authority.revoke(PAYMENTS)
    try {
      const agent = new Agent({ name: 'support', model, mcpServers: [mcp] })
      const result = await run(agent, 'Refund INV-13')
      expect(result.finalOutput).toBe('It was refused.')
      expect(JSON.stringify(model.calls[1]?.request.input)).toContain('DEVICE_REVOKED')
      expect(bank.refunds).toEqual([])
    } finally {
      await server.authority.restore(PAYMENTS)
      await mcp.close()
    }
  })

  test('an allowed call runs once', async () => {
    const mcp = new MCPServerStreamableHttp({
      url: `${server.url}/mcp`,
      name: 'tools',
      requestInit: { headers: { authorization: `Bearer ${server.token}` } },
    })
    await mcp.connect()
    const model = new ScriptedModel([
      [functionCall('refund_invoice', { invoiceId: 'INV-14', amountCents: 5 }, { callId: 'call_a' })],
      [assistantMessage('Refunded.')],
    ])
    const agent = new Agent({ name: 'support', model, mcpServers: [mcp] })
    const result = await new Runner().run(agent, 'Refund INV-14')
    await mcp.close()
    expect(result.finalOutput).toBe('Refunded.')
    expect(bank.refunds).toEqual(['INV-14'])
  })
})
