import { request, type IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { networkInterfaces } from 'node:os'
import { tool } from '@openai/agents'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'

import { guardedTool } from '../../src/agents/guarded-tool.ts'
import type { Guard } from '../../src/guard/guard.ts'
import { listen } from '../../src/http.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { scopesOf } from '../../src/tool-server/auth.ts'
import { callersOf } from '../../src/tool-server/callers.ts'
import { createToolServer } from '../../src/tool-server/tool-server.ts'
import { startedGuard, testGuard } from '../fixtures/guard.ts'
import { selfSigned } from '../fixtures/certificate.ts'
import { PAYMENTS, startTestToolServer, tokenWith, type TestToolServer } from './start.ts'
import { createBank, testTools } from './tools.ts'

const bank = createBank()
const open: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

async function start(
  options: Partial<Parameters<typeof startTestToolServer>[0]> = {},
): Promise<TestToolServer> {
  const server = await startTestToolServer({ tools: (guard) => testTools(guard, bank), ...options })
  open.push(server)
  return server
}

const echo = (guard: Guard, name = 'echo') =>
  guardedTool(guard.surface('tool-server'), {
    name,
    description: 'Gives back what it got',
    parameters: z.object({ text: z.string() }),
    effects: 'none',
    execute: ({ text }) => text,
  })

const hidden = (guard: Guard) =>
  guardedTool(guard.surface('tool-server'), {
    name: 'hidden',
    description: 'Is for some agents only',
    parameters: z.object({}),
    isEnabled: ({ agent }) => agent.name === 'support',
    effects: 'none',
    execute: () => 'x',
  })

describe('tools that cannot be hosted', () => {
  const { guard } = testGuard()
  const unguarded = tool({
    name: 'naked',
    description: 'Not guarded',
    parameters: z.object({}),
    execute: () => 'ran',
  })

  test.each([
    ['a tool that is not guarded', [unguarded], /"naked" is not guarded/],
    ['something that is no tool', [{ name: 'thing' }], /"thing" is not guarded/],
    ['a tool of another guard', [echo(testGuard().guard)], /"echo" belongs to another guard/],
    ['two tools of one name', [echo(guard), echo(guard)], /"echo" is there twice/],
    ['a tool with isEnabled', [hidden(guard)], /"hidden" has isEnabled: only runs of the SDK apply it/],
  ])('%s: GUARD_MISCONFIGURED, naming it', (_name, tools, message) => {
    expect(() => createToolServer({ guard, tools })).toThrow(
      expect.objectContaining({ code: 'GUARD_MISCONFIGURED', message: expect.stringMatching(message) }),
    )
  })
})

describe('a server without callers', () => {
  test('lets everybody on this machine call', async () => {
    const { guard } = await startedGuard()
    const server = createToolServer({ guard, tools: [echo(guard)] })
    open.push(server)
    const { url } = await server.listen({ port: 0 })
    const response = await fetch(`${url}/tools/echo`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"arguments":{"text":"hi"}}',
    })
    expect(await response.json()).toMatchObject({ output: 'hi' })
  })

  test.each(['0.0.0.0', '::', '192.0.2.1', 'tools.example.com'])('refuses to listen on %s', async (host) => {
    const { guard } = testGuard()
    const server = createToolServer({ guard, tools: [] })
    await expect(server.listen({ host, port: 0 })).rejects.toMatchObject({
      code: 'GUARD_MISCONFIGURED',
      message: expect.stringContaining('CALLER_TOKENS_FILE'),
    })
    expect(server.server.listening).toBe(false)
  })

  test('refuses a public URL', () => {
    const { guard } = testGuard()
    expect(() => createToolServer({ guard, tools: [], publicUrl: 'https://tools.example.com' })).toThrow(
      expect.objectContaining({ code: 'GUARD_MISCONFIGURED' }),
    )
  })

  const address = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal)?.address
  if (address === undefined) console.log('skipped: this machine has no address but loopback')

  test.skipIf(address === undefined)(
    'refuses other machines also when it was made to listen everywhere',
    async () => {
      const { guard } = await startedGuard()
      const toolServer = createToolServer({ guard, tools: [echo(guard)] })
      open.push(toolServer)
      const { port } = await listen(toolServer.server, { host: '0.0.0.0', port: 0 })
      expect(await statusOf(`http://${address}:${port}/tools`, { host: 'localhost' })).toBe(401)
      expect(await statusOf(`http://127.0.0.1:${port}/tools`, { host: 'localhost' })).toBe(200)
    },
  )
})

describe('names by which it may be reached', () => {
  test('the public URL and the allowed hosts, with any port, and loopback names', async () => {
    const { url, token } = await start({
      publicUrl: 'https://tools.example.com',
      allowedHosts: ['tools.internal:8080', '10.0.0.7'],
    })
    const status = (host: string, origin?: string) => statusOf(`${url}/tools`, { host, token, origin })
    expect(await status('tools.example.com')).toBe(200)
    expect(await status('tools.internal')).toBe(200)
    expect(await status('10.0.0.7:4200')).toBe(200)
    expect(await status('localhost')).toBe(200)
    expect(await status('tools.example.com', 'https://tools.example.com')).toBe(200)
    expect(await status('other.example.com')).toBe(403)
    expect(await status('tools.example.com', 'https://other.example.com')).toBe(403)
  })

  test.each([
    { publicUrl: 'tools.example.com' },
    { publicUrl: 'ftp://tools.example.com' },
    { allowedHosts: ['a b'] },
  ])('%j cannot work: GUARD_MISCONFIGURED', (options) => {
    const { guard } = testGuard()
    const callers = callersOf([])
    expect(() => createToolServer({ guard, tools: [], callers, ...options })).toThrow(
      expect.objectContaining({ code: 'GUARD_MISCONFIGURED' }),
    )
  })

  test("a platform's probe at the bare address gets its answer", async () => {
    const { url } = await start()
    expect(await statusOf(`${url}/healthz`, { host: '10.1.2.3:4200' })).toBe(200)
  })
})

describe('scopes', () => {
  test('a caller without tools:call is told which scope it lacks', async () => {
    const { token, record } = tokenWith(['runs:start'])
    const server = await start({ callers: callersOf([record]) })
    for (const answer of [
      await server.call('echo', { arguments: { text: 'x' } }, token),
      await server.get('/tools', { authorization: `Bearer ${token}` }),
      await server.post('/mcp', {}, { authorization: `Bearer ${token}` }),
    ]) {
      expect([answer.status, answer.body.code]).toEqual([403, 'INSUFFICIENT_SCOPE'])
      expect(answer.headers.get('www-authenticate')).toBe(
        'Bearer error="insufficient_scope", scope="tools:call"',
      )
    }
  })

  test('a caller that is not known is told how to become one', async () => {
    const server = await start()
    const answer = await server.get('/tools', { authorization: '' })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="holdpoint", error="invalid_token"')
    expect(answer.body.message).toContain('docs/operating.md')
  })

  test('G4: callers that cannot be read: nobody is let in', async () => {
    const server = await start({
      callers: {
        find: () => {
          throw new Error('EACCES /etc/secret/callers.json')
        },
      },
    })
    const { status, body } = await server.get('/tools')
    expect([status, body.code]).toEqual([503, 'CALLERS_UNREADABLE'])
    expect(JSON.stringify(body)).not.toContain('/etc/secret')
  })

  test('every route asks for a scope, but the two for health and the one for figures', async () => {
    const { toolServer } = await start()
    const routes = routesOf(toolServer.app.router as never)
    expect(routes.filter((route) => !route.scoped).map((route) => route.path)).toEqual([
      '/healthz',
      '/readyz',
      '/metrics',
    ])
    expect(routes.filter((route) => route.scoped).map((route) => route.path)).toEqual([
      '/inspect',
      '/canary/:surface',
      '/tools',
      '/tools/:name',
      '/mcp',
    ])
  })

  test('a route that somebody adds later without a scope is closed to strangers all the same', async () => {
    const server = await start()
    server.toolServer.app.get('/added', (_request, response) => void response.send('secret'))
    expect(
      routesOf(server.toolServer.app.router as never).find(({ path }) => path === '/added')?.scoped,
    ).toBe(false)
    expect((await server.get('/added', { authorization: '' })).status).toBe(401)
  })
})

describe('health', () => {
  test('needs no token', async () => {
    const server = await start()
    expect(await server.get('/healthz', { authorization: '' })).toMatchObject({
      status: 200,
      body: { status: 'ok' },
    })
    expect(await server.get('/readyz', { authorization: '' })).toMatchObject({
      status: 200,
      body: {
        status: 'ok',
        started: true,
        authority: { answered: true },
        in_flight: 0,
        unknown_outcomes: 0,
      },
    })
  })

  test('a denial is an answer: it stays ready', async () => {
    const server = await start()
    await server.authority.revoke(PAYMENTS)
    await server.call('refund_invoice', { call_id: 'c', arguments: { invoiceId: 'INV-1', amountCents: 1 } })
    expect((await server.get('/readyz?strict')).status).toBe(200)
  })

  test('an authority that gives no answer is a field, and fails only the strict question', async () => {
    const server = await start({ timeoutMs: 300 })
    await server.authority.kill()
    await server.call('echo', { arguments: { text: 'x' } })
    const relaxed = await server.get('/readyz')
    expect(relaxed.status).toBe(200)
    expect(relaxed.body).toMatchObject({
      status: 'degraded',
      authority: { answered: false, code: 'AUTHORITY_UNREACHABLE' },
    })
    expect((await server.get('/readyz?strict')).status).toBe(503)
  })

  test('counts what runs and what nobody knows the end of', async () => {
    const server = await start()
    await server.call('lost_payment', { call_id: 'c', arguments: {} })
    const waiting = server.call('wait', { call_id: 'd', arguments: { name: 'health' } })
    await vi.waitFor(() => expect(bank.started).toContain('health'))
    expect((await server.get('/readyz')).body).toMatchObject({ in_flight: 1, unknown_outcomes: 1 })
    await server.guard.close({ graceMs: 100 })
    await waiting
  })
})

describe('shutting down', () => {
  test('G3: running bodies get the signal and their grace, new calls are told, the journal is complete', async () => {
    const server = await start()
    const release = Promise.withResolvers<void>()
    bank.beforeRefund = () => release.promise
    bank.refunds.length = 0
    const reading = server.call('wait', { call_id: 'a', arguments: { name: 'shutdown' } })
    const paying = server.call('refund_invoice', {
      call_id: 'b',
      arguments: { invoiceId: 'INV-1', amountCents: 1 },
    })
    await vi.waitFor(() =>
      expect([bank.started.includes('shutdown'), bank.refunds]).toEqual([true, ['INV-1']]),
    )

    const closing = server.guard.close({ graceMs: 5000 })
    const late = await server.call('echo', { call_id: 'c', arguments: { text: 'x' } })
    expect([late.status, late.body.code]).toEqual([503, 'GUARD_SHUTTING_DOWN'])
    expect((await reading).body.output).toBe('aborted')
    release.resolve()
    expect(await paying).toMatchObject({ status: 200, body: { output: expect.stringContaining('INV-1') } })
    expect(await closing).toBe(true)
    await server.toolServer.close()
    bank.beforeRefund = async () => {}

    const journal = createSqliteJournal({
      file: `${server.dir}/journal.sqlite`,
      nowMs: () => Date.now() + 3_600_000,
    })
    expect(await journal.listUnknown()).toEqual([])
    await journal.close()
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow()
  })

  test('close may be called twice, and before listening', async () => {
    const { guard } = testGuard()
    const server = createToolServer({ guard, tools: [] })
    await server.close()
    await server.listen({ port: 0 })
    await server.close()
    await server.close()
  })
})

test('serves HTTPS with its own certificate', async () => {
  const { guard } = await startedGuard()
  const tls = selfSigned()
  const toolServer = createToolServer({ guard, tools: [], tls })
  open.push(toolServer)
  const { url } = await toolServer.listen({ port: 0 })
  expect(url).toMatch(/^https:/)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${url}/healthz`, { ca: tls.cert, agent: false }, resolve).on('error', reject)
  })
  response.resume()
  expect(response.statusCode).toBe(200)
})

function routesOf(router: { stack: Layer[] }, found: { path: string; scoped: boolean }[] = []) {
  for (const layer of router.stack) {
    if (layer.route) {
      const scoped = layer.route.stack.some(({ handle }) => scopesOf(handle) !== undefined)
      found.push({ path: layer.route.path, scoped })
    } else if (layer.handle.stack) routesOf({ stack: layer.handle.stack }, found)
  }
  return found
}

interface Layer {
  readonly route?: { readonly path: string; readonly stack: readonly { readonly handle: unknown }[] }
  readonly handle: { readonly stack?: Layer[] }
}

/** With headers that `fetch` would not send. */
function statusOf(
  url: string,
  { host, origin, token }: { host: string; origin?: string | undefined; token?: string },
) {
  return new Promise<number | undefined>((resolve, reject) => {
    const headers = {
      host,
      ...(origin === undefined ? {} : { origin }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    }
    request(url, { headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
}
