import { createServer } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import { Agent, run, RunContext, ToolCallError, type FunctionTool } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'

import { runAgent } from '../../src/agents/run-agent.ts'
import { listen } from '../../src/http.ts'
import { remoteTools, type RemoteToolsOptions } from '../../src/tool-server/remote-tools.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { PAYMENTS, startTestToolServer, tokenWith, type TestToolServer } from './start.ts'
import { createBank, testTools } from './tools.ts'

const bank = createBank()
let server: TestToolServer
const open: { close(): unknown }[] = []

beforeAll(async () => {
  server = await startTestToolServer({ tools: (guard) => testTools(guard, bank) })
})
afterAll(() => server.close())
afterEach(async () => {
  await server.authority.restore(PAYMENTS)
  bank.beforeRefund = async () => {}
  bank.charges.length = 0
  bank.refunds.length = 0
  for (const one of open.splice(0)) one.close()
})

let ids = 0
const newCallId = () => `call_${(ids += 1)}`

/** An agent that calls one tool and then says `done`. */
async function agentCalling(
  tool: string,
  args: Record<string, unknown>,
  { url = server.url, ...options }: RemoteToolsOptions & { url?: string } = {},
) {
  const callId = newCallId()
  const model = new ScriptedModel([[functionCall(tool, args, { callId })], [assistantMessage('done')]])
  const tools = await remoteTools(url, server.token, options)
  return { agent: new Agent({ name: 'support', model, tools }), model, callId }
}

const told = (model: ScriptedModel): string => JSON.stringify(model.calls.at(-1)?.request.input)

const invoke = async (tools: FunctionTool[], name: string, args: object): Promise<string> => {
  const tool = tools.find((one) => one.name === name)
  return String(await tool?.invoke(new RunContext(), JSON.stringify(args)))
}

describe('a run that uses remote tools', () => {
  test('gets the output, and the server gets call id and run id', async () => {
    const { guard } = await startedGuard()
    const { agent, model, callId } = await agentCalling('refund_invoice', {
      invoiceId: 'INV-1',
      amountCents: 5,
    })
    const result = await runAgent(guard, agent, 'Refund INV-1', { runId: 'run_abc' })
    expect(result).toMatchObject({ status: 'completed', output: 'done' })
    expect(told(model)).toContain('INV-1')
    expect(bank.refunds).toEqual(['INV-1'])
    const line = server.lines.find((one) => one['call_id'] === callId && one['boundary'] === 'side_effect')
    expect(line).toMatchObject({ run_id: 'run_abc', tool: 'refund_invoice', allowed: true })
  })

  test('outside runAgent the run id is the one that was given', async () => {
    const { agent, callId } = await agentCalling('echo', { text: 'x' }, { runId: 'run_own' })
    await run(agent, 'Say x')
    expect(server.lines.find((one) => one['call_id'] === callId)).toMatchObject({ run_id: 'run_own' })
  })

  test('is told of a denial, and goes on', async () => {
    await server.authority.revoke(PAYMENTS)
    const { agent, model } = await agentCalling('refund_invoice', { invoiceId: 'INV-2', amountCents: 5 })
    const result = await run(agent, 'Refund INV-2')
    expect(result.finalOutput).toBe('done')
    expect(told(model)).toContain('DEVICE_REVOKED')
    expect(bank.refunds).toEqual([])
  })

  test('is told that a person must approve', async () => {
    const { agent, model } = await agentCalling('approved_payment', {})
    await run(agent, 'Pay')
    expect(told(model)).toContain('APPROVAL_REQUIRED')
    expect(bank.charges).toEqual([])
  })

  test('is told of arguments that do not fit', async () => {
    const { agent, model } = await agentCalling('echo', { text: 7 })
    await run(agent, 'Say 7')
    expect(told(model)).toContain('bad_arguments')
  })

  test('ends cleanly where the tool says stop: no further model call', async () => {
    await server.authority.revoke(PAYMENTS)
    const { agent, model } = await agentCalling('stopping_payment', {})
    const result = await run(agent, 'Pay')
    expect(JSON.parse(String(result.finalOutput))).toMatchObject({
      code: 'DEVICE_REVOKED',
      on_denied: 'stop',
    })
    expect(model.calls).toHaveLength(1)
  })

  test('ends as denied in runAgent where the tool says stop', async () => {
    const { guard } = await startedGuard()
    await server.authority.revoke(PAYMENTS)
    const { agent } = await agentCalling('stopping_payment', {})
    expect(await runAgent(guard, agent, 'Pay')).toMatchObject({ status: 'denied' })
  })

  test('is rejected where the tool says abort', async () => {
    await server.authority.revoke(PAYMENTS)
    const { agent, model } = await agentCalling('aborting_payment', {})
    const rejected = await run(agent, 'Pay').catch((error: unknown) => error)
    expect(rejected).toBeInstanceOf(ToolCallError)
    expect((rejected as ToolCallError).error).toMatchObject({ code: 'DEVICE_REVOKED' })
    expect(model.calls).toHaveLength(1)
  })

  test('that is aborted aborts the body on the server', async () => {
    const controller = new AbortController()
    const { agent } = await agentCalling('wait', { name: 'remote' })
    const running = run(agent, 'Wait', { signal: controller.signal }).catch((error: unknown) => error)
    await vi.waitFor(() => expect(bank.started).toContain('remote'))
    controller.abort(new Error('the user gave up'))
    expect(await running).toMatchObject({ message: 'the user gave up' })
    await vi.waitFor(() => expect(bank.aborted).toContain('remote'))
  })
})

describe('a connection that is lost', () => {
  test('after the call was carried out: the same call id is sent once more, and nothing happens twice', async () => {
    const proxy = await cuttingProxy({ answersToCut: 1 })
    const { agent, model, callId } = await agentCalling('charge_card', { amountCents: 5 }, { url: proxy.url })
    await run(agent, 'Charge')
    expect(bank.charges).toEqual([callId])
    expect(proxy.calls()).toBe(2)
    expect(told(model)).toContain('replayed')
  })

  test('twice: the model is told that nobody knows, and nothing happens twice', async () => {
    const proxy = await cuttingProxy({ answersToCut: 2 })
    const { agent, model, callId } = await agentCalling('charge_card', { amountCents: 5 }, { url: proxy.url })
    await run(agent, 'Charge')
    expect(bank.charges).toEqual([callId])
    expect(proxy.calls()).toBe(2)
    expect(told(model)).toMatch(/outcome_unknown.*TOOL_SERVER_UNREACHABLE/)
  })

  test('without a call id: nothing is sent again', async () => {
    const proxy = await cuttingProxy({ answersToCut: 1 })
    const tools = await remoteTools(proxy.url, server.token)
    const output = JSON.parse(await invoke(tools, 'refund_invoice', { invoiceId: 'INV-9', amountCents: 1 }))
    expect(output).toMatchObject({ error: 'outcome_unknown', executed: 'unknown' })
    expect(proxy.calls()).toBe(1)
  })

  test('because nobody listens any more: nothing was sent, and the model is told so', async () => {
    const proxy = await cuttingProxy({ answersToCut: 0 })
    const { agent, model } = await agentCalling('charge_card', { amountCents: 5 }, { url: proxy.url })
    proxy.close()
    await run(agent, 'Charge')
    expect(told(model)).toMatch(/permission_check_unavailable.*TOOL_SERVER_UNREACHABLE/)
    expect(bank.charges).toEqual([])
  })

  test('an answer that takes longer than timeoutMs: told as unknown, not sent again', async () => {
    const proxy = await cuttingProxy({ answersToCut: 0 })
    const release = Promise.withResolvers<void>()
    bank.beforeRefund = () => release.promise
    const { agent, model } = await agentCalling(
      'refund_invoice',
      { invoiceId: 'INV-3', amountCents: 5 },
      { url: proxy.url, timeoutMs: 300 },
    )
    await run(agent, 'Refund')
    release.resolve()
    expect(told(model)).toMatch(/outcome_unknown.*TOOL_SERVER_TIMEOUT/)
    expect(proxy.calls()).toBe(1)
    expect(bank.refunds).toEqual(['INV-3'])
  })

  test('an answer that is none of ours is told as unknown, not as a result', async () => {
    const tools = await remoteTools(await fakeServer('<html>502 Bad Gateway</html>', 502), server.token)
    expect(JSON.parse(await invoke(tools, 'echo', { text: 'x' }))).toMatchObject({
      error: 'outcome_unknown',
      code: 'TOOL_SERVER_BAD_ANSWER',
      executed: 'unknown',
    })
  })
})

describe('a server that does not list its tools', () => {
  test('because it does not know the token', async () => {
    const { token } = tokenWith(['tools:call'])
    await expect(remoteTools(server.url, token)).rejects.toMatchObject({
      code: 'TOOL_SERVER_REFUSED',
      message: expect.stringContaining('docs/operating.md'),
    })
    await expect(remoteTools(server.url, token)).rejects.not.toMatchObject({
      message: expect.stringContaining(token),
    })
  })

  test('because there is none', async () => {
    await expect(remoteTools('http://127.0.0.1:1', server.token)).rejects.toMatchObject({
      code: 'TOOL_SERVER_UNREACHABLE',
      message: expect.stringContaining('npx holdpoint start'),
    })
  })
})

/** Passes everything on, but drops the caller's connection in place of the first answers to POST requests. */
async function cuttingProxy({ answersToCut }: { answersToCut: number }) {
  let calls = 0
  const target = Number(new URL(server.url).port)
  const proxy = createTcpServer((caller) => {
    const upstream = connect(target, '127.0.0.1')
    let cut = false
    caller.on('data', (chunk: Buffer) => {
      if (chunk.toString('latin1').startsWith('POST ')) {
        calls += 1
        cut = calls <= answersToCut
      }
      upstream.write(chunk)
    })
    upstream.on('data', (chunk: Buffer) => (cut ? caller.destroy() : caller.write(chunk)))
    caller.on('close', () => upstream.destroy()).on('error', () => {})
    upstream.on('close', () => caller.destroy()).on('error', () => {})
    sockets.add(caller)
  })
  const sockets = new Set<{ destroy(): void }>()
  const { port } = await listen(proxy, { host: '127.0.0.1', port: 0 })
  const close = () => {
    proxy.close()
    sockets.forEach((socket) => socket.destroy())
  }
  open.push({ close })
  return { url: `http://localhost:${port}`, calls: () => calls, close }
}

/** Lists one tool and answers every call with `text`. */
async function fakeServer(text: string, statusCode: number): Promise<string> {
  const parameters = {
    type: 'object',
    properties: { text: { type: 'string' } },
    required: ['text'],
    additionalProperties: false,
  }
  const list = [{ type: 'function', name: 'echo', description: 'x', strict: true, parameters }]
  const fake = createServer((request, response) => {
    request.resume()
    if (request.method === 'GET') response.end(JSON.stringify(list))
    else response.writeHead(statusCode).end(text)
  })
  open.push(fake)
  return (await listen(fake, { host: '127.0.0.1', port: 0 })).url
}
