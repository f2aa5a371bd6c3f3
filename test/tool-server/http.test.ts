import { once } from 'node:events'
import { request } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'

import { createBank, testTools } from './tools.ts'
import { PAYMENTS, SERVER, startTestToolServer, tokenWith, type TestToolServer } from './start.ts'

const bank = createBank()
let server: TestToolServer

beforeAll(async () => {
  server = await startTestToolServer({ tools: (guard) => testTools(guard, bank) })
})
afterAll(() => server.close())
afterEach(() => {
  bank.beforeRefund = async () => {}
  bank.charges.length = 0
  bank.refunds.length = 0
})

let calls = 0
const newCallId = () => `call_${(calls += 1)}`

describe('GET /tools', () => {
  test('lists function tools as the Responses API wants them', async () => {
    const { status, body } = await server.get('/tools')
    expect(status).toBe(200)
    expect(body.map((tool: { name: string }) => tool.name)).toContain('refund_invoice')
    expect(body.find((tool: { name: string }) => tool.name === 'echo')).toEqual({
      type: 'function',
      name: 'echo',
      description: 'Gives back what it got',
      strict: true,
      parameters: expect.objectContaining({
        type: 'object',
        properties: { text: { type: 'string' } },
        required: ['text'],
        additionalProperties: false,
      }),
    })
  })
})

describe('POST /tools/:name', () => {
  test('gives the output, the request id of the decision, and the call id back', async () => {
    const { status, body } = await server.call('echo', { call_id: 'call_a', arguments: { text: 'hello' } })
    expect(status).toBe(200)
    expect(body).toEqual({ output: 'hello', request_id: expect.any(String), call_id: 'call_a' })
    expect(body.request_id).not.toMatch(/^local_/)
  })

  test('takes arguments as the JSON text that the Responses API gives', async () => {
    const { body } = await server.call('echo', { call_id: newCallId(), arguments: '{"text":"as text"}' })
    expect(body.output).toBe('as text')
  })

  test.each([128, 5000, 200_000])('a body that is nested %d levels deep: 400 BAD_REQUEST', async (depth) => {
    const deep = '['.repeat(depth) + ']'.repeat(depth)
    const { status, body } = await server.call('echo', `{"arguments":{"text":${deep}}}`)
    expect([status, body.code]).toEqual([400, 'BAD_REQUEST'])
    expect(body.issues).toEqual(['body: nested deeper than 128 levels'])
  })

  test.each([128, 5000, 200_000])(
    'arguments as text, nested %d levels deep: 400 BAD_ARGUMENTS',
    async (depth) => {
      const text = `{"text":${'['.repeat(depth)}${']'.repeat(depth)}}`
      const { status, body } = await server.call('echo', { arguments: text })
      expect([status, body.code]).toEqual([400, 'BAD_ARGUMENTS'])
      expect(body.issues).toEqual(['Nested deeper than 128 levels.'])
    },
  )

  test('a call without a call id runs, and is told that it has none', async () => {
    const { status, body } = await server.call('echo', { arguments: { text: 'x' } })
    expect([status, body.call_id]).toEqual([200, null])
  })

  test('the same call id again: the stored result, marked as replayed, and no second effect', async () => {
    const call = { call_id: newCallId(), run_id: 'run_1', arguments: { amountCents: 500 } }
    const first = await server.call('charge_card', call)
    const second = await server.call('charge_card', call)
    expect(first.body).not.toHaveProperty('replayed')
    expect(second.status).toBe(200)
    expect(second.body.replayed).toBe(true)
    expect(JSON.parse(second.body.output)).toMatchObject({ replayed: true, result: { charged: 500 } })
    expect(bank.charges).toEqual([call.call_id])
  })

  test('another caller with the same call id never gets the stored result', async () => {
    const call = { call_id: newCallId(), run_id: 'run_1', arguments: { amountCents: 500 } }
    await server.call('charge_card', call)
    const { body } = await server.call('charge_card', call, server.otherToken)
    expect(body).not.toHaveProperty('replayed')
    expect(bank.charges).toHaveLength(2)
  })

  test('two calls with the same business key at once: one effect, the same result', async () => {
    bank.beforeRefund = () => new Promise((resolve) => setTimeout(resolve, 50))
    const call = () =>
      server.call('refund_invoice', {
        call_id: newCallId(),
        arguments: { invoiceId: 'INV-1', amountCents: 100 },
      })
    const answers = await Promise.all([call(), call()])
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(answers.filter(({ body }) => body.replayed === true)).toHaveLength(1)
    expect(bank.refunds).toEqual(['INV-1'])
  })

  test('G1: a revoked surface denies the call, and a restore lets it pass again', async () => {
    await server.authority.revoke(PAYMENTS)
    const call = { arguments: { invoiceId: 'INV-2', amountCents: 100 } }
    const denied = await server.call('refund_invoice', { call_id: newCallId(), ...call })
    expect(bank.refunds).toEqual([])
    await server.authority.restore(PAYMENTS)
    const allowed = await server.call('refund_invoice', { call_id: newCallId(), ...call })
    expect([denied.status, denied.body.code, denied.body.device_id]).toEqual([
      403,
      'DEVICE_REVOKED',
      PAYMENTS,
    ])
    expect(allowed.status).toBe(200)
    expect(bank.refunds).toEqual(['INV-2'])
  })
})

describe('refusals over HTTP', () => {
  const denied = async (deviceId: string, tool: string, args: object = {}) => {
    await server.authority.revoke(deviceId)
    try {
      return await server.call(tool, { call_id: newCallId(), arguments: args })
    } finally {
      await server.authority.restore(deviceId)
    }
  }
  const call = (tool: string, args: object = {}) =>
    server.call(tool, { call_id: newCallId(), arguments: args })

  test.each([
    {
      name: 'a revoked device',
      ask: () => denied(SERVER, 'echo', { text: 'x' }),
      status: 403,
      error: 'permission_denied',
      code: 'DEVICE_REVOKED',
      executed: false,
    },
    {
      name: 'an approval that nobody gave',
      ask: () => call('approved_payment'),
      status: 403,
      error: 'approval_required',
      code: 'APPROVAL_REQUIRED',
      executed: false,
    },
    {
      name: 'a payment for each call without a call id',
      ask: () => server.call('charge_card', { arguments: { amountCents: 1 } }),
      status: 403,
      error: 'permission_denied',
      code: 'CALL_ID_REQUIRED',
      executed: false,
    },
    {
      name: 'a card that was declined',
      ask: () => call('declined_payment'),
      status: 422,
      error: 'tool_failed',
      code: 'EFFECT_NOT_PERFORMED',
      executed: false,
    },
    {
      name: 'an effect nobody knows the end of',
      ask: () => call('lost_payment'),
      status: 409,
      error: 'outcome_unknown',
      code: 'OUTCOME_UNKNOWN',
      executed: 'unknown',
    },
    {
      name: 'a tool that threw',
      ask: () => call('broken'),
      status: 500,
      error: 'tool_failed',
      code: 'TOOL_FAILED',
      executed: false,
    },
    {
      name: 'a key that was used with other arguments',
      ask: async () => {
        await call('refund_invoice', { invoiceId: 'INV-3', amountCents: 100 })
        return call('refund_invoice', { invoiceId: 'INV-3', amountCents: 200 })
      },
      status: 409,
      error: 'effect_key_conflict',
      code: 'EFFECT_KEY_CONFLICT',
      executed: false,
    },
  ])('$name: $status $code', async ({ ask, status, error, code, executed }) => {
    const answer = await ask()
    expect(answer.status).toBe(status)
    expect(answer.body).toMatchObject({ error, code, executed, retryable: false, on_denied: 'tell' })
    expect(answer.body.request_id).toEqual(expect.any(String))
    const { output, call_id: _callId, ...body } = answer.body
    expect(JSON.parse(output)).toEqual(body)
    expect(bank.charges).toEqual([])
  })

  test('an effect that is under way: 409 in_progress', async () => {
    const release = Promise.withResolvers<void>()
    bank.beforeRefund = () => release.promise
    const args = { invoiceId: 'INV-4', amountCents: 100 }
    const first = call('refund_invoice', args)
    await vi.waitFor(() => expect(bank.refunds).toEqual(['INV-4']))
    const second = await call('refund_invoice', args)
    release.resolve()
    expect([second.status, second.body.error]).toEqual([409, 'in_progress'])
    expect((await first).status).toBe(200)
  })

  test('no answer contains what a tool threw', async () => {
    const broken = await call('broken')
    const lost = await call('lost_payment')
    for (const { body } of [broken, lost])
      expect(JSON.stringify(body)).not.toMatch(/hunter2|\.internal|\\n *at /)
  })

  test.each(['stop', 'abort'] as const)('where there is no run, %s tells, and says so', async (onDenied) => {
    const { status, body } = await denied(
      PAYMENTS,
      onDenied === 'stop' ? 'stopping_payment' : 'aborting_payment',
    )
    expect([status, body.on_denied]).toEqual([403, onDenied])
  })
})

test('G4: an authority that does not answer: 503, and nothing runs', async () => {
  await using own = await startTestToolServer({ tools: (guard) => testTools(guard, bank), timeoutMs: 300 })
  await own.authority.kill()
  const { status, body } = await own.call('refund_invoice', {
    call_id: 'call_1',
    arguments: { invoiceId: 'INV-5', amountCents: 1 },
  })
  expect([status, body.error, body.code]).toEqual([
    503,
    'permission_check_unavailable',
    'AUTHORITY_UNREACHABLE',
  ])
  expect(bank.refunds).toEqual([])
})

describe('bad input', () => {
  const good = { call_id: 'call_x', arguments: { text: 'x' } }
  const noScope = () => tokenWith(['tools:call']).token

  const rows: [
    name: string,
    send: () => Promise<{ status: number; body: unknown }>,
    status: number,
    code: string,
  ][] = [
    ['malformed JSON', () => server.post('/tools/echo', '{"arguments":'), 400, 'MALFORMED_JSON'],
    ['no body', () => server.post('/tools/echo', ''), 400, 'BAD_REQUEST'],
    ['a body that is no object', () => server.post('/tools/echo', '[1]'), 400, 'BAD_REQUEST'],
    [
      'another content type',
      () => server.post('/tools/echo', good, { 'content-type': 'text/plain' }),
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    [
      'more than 1 MiB',
      () => server.call('echo', { arguments: { text: 'x'.repeat(1024 * 1024) } }),
      413,
      'BODY_TOO_LARGE',
    ],
    ['an unknown tool', () => server.call('no_such_tool', good), 404, 'TOOL_NOT_FOUND'],
    [
      'a tool named like a property of every object',
      () => server.call('__proto__', good),
      404,
      'TOOL_NOT_FOUND',
    ],
    ['a name that cannot be decoded', () => server.post('/tools/%E0%A4%A', good), 400, 'BAD_REQUEST'],
    ['an unknown route', () => server.get('/no/such/route'), 404, 'ROUTE_NOT_FOUND'],
    ['another method', () => server.get('/tools/echo'), 404, 'ROUTE_NOT_FOUND'],
    [
      'arguments that do not fit',
      () => server.call('echo', { arguments: { text: 7 } }),
      400,
      'BAD_ARGUMENTS',
    ],
    ['arguments that are missing', () => server.call('echo', {}), 400, 'BAD_REQUEST'],
    [
      'arguments that are text but no JSON',
      () => server.call('echo', { arguments: '{"text":' }),
      400,
      'BAD_ARGUMENTS',
    ],
    ['arguments that are a list', () => server.call('echo', { arguments: ['x'] }), 400, 'BAD_ARGUMENTS'],
    [
      'a misspelt call id',
      () => server.call('echo', { callId: 'call_x', arguments: { text: 'x' } }),
      400,
      'BAD_REQUEST',
    ],
    ['an empty call id', () => server.call('echo', { ...good, call_id: '' }), 400, 'BAD_REQUEST'],
    [
      'a call id of 257 characters',
      () => server.call('echo', { ...good, call_id: 'x'.repeat(257) }),
      400,
      'BAD_REQUEST',
    ],
    [
      'a call id with a line break',
      () => server.call('echo', { ...good, call_id: 'a\nb' }),
      400,
      'BAD_REQUEST',
    ],
    ['a run id that is a number', () => server.call('echo', { ...good, run_id: 7 }), 400, 'BAD_REQUEST'],
    [
      'no token',
      () => server.post('/tools/echo', good, { authorization: '' }),
      401,
      'CALLER_UNAUTHENTICATED',
    ],
    ['a token of no one', () => server.call('echo', good, noScope()), 401, 'CALLER_UNAUTHENTICATED'],
    [
      'a token with something added',
      () => server.call('echo', good, `${server.token}x`),
      401,
      'CALLER_UNAUTHENTICATED',
    ],
    [
      'another scheme',
      () => server.post('/tools/echo', good, { authorization: `Basic ${server.token}` }),
      401,
      'CALLER_UNAUTHENTICATED',
    ],
    [
      'an unknown route without a token',
      () => server.get('/no/such/route', { authorization: '' }),
      401,
      'CALLER_UNAUTHENTICATED',
    ],
    [
      'a page of another origin',
      () => server.post('/tools/echo', good, { origin: 'https://evil.example' }),
      403,
      'ORIGIN_NOT_ALLOWED',
    ],
    [
      'a page of no origin',
      () => server.post('/tools/echo', good, { origin: 'null' }),
      403,
      'ORIGIN_NOT_ALLOWED',
    ],
  ]

  test.each(rows)('%s', async (_name, send, status, code) => {
    const { body, ...answer } = await send()
    expect([answer.status, (body as { code: string }).code]).toEqual([status, code])
    expect(body).toMatchObject({ output: expect.any(String), message: expect.any(String) })
  })

  test('arguments that do not fit are named', async () => {
    const { body } = await server.call('refund_invoice', { arguments: { invoiceId: 7, amountCents: -1 } })
    expect(body.issues).toEqual([
      expect.stringMatching(/^invoiceId: /),
      expect.stringMatching(/^amountCents: /),
    ])
    expect(body.output).toContain('invoiceId')
    expect(bank.refunds).toEqual([])
  })

  test.each(['evil.example', 'evil.example:4200', '127.0.0.1.evil.example', 'localhost.evil.example', ''])(
    'the host %j: 403 HOST_NOT_ALLOWED',
    async (host) => {
      expect(await rawGet('/tools', { host })).toMatchObject({ status: 403, code: 'HOST_NOT_ALLOWED' })
    },
  )

  test.each(['localhost', 'localhost:1', '127.0.0.1', '[::1]:4200'])(
    'the host %j is let in',
    async (host) => {
      expect(await rawGet('/tools', { host })).toMatchObject({ status: 200 })
    },
  )

  test('a page on this machine is let in, given a token', async () => {
    expect((await server.get('/tools', { origin: 'http://localhost:3000' })).status).toBe(200)
  })

  test('answers cannot be cached, sniffed or framed', async () => {
    const { headers } = await server.get('/tools')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'")
    expect(headers.get('x-powered-by')).toBeNull()
  })
})

test('a caller that disconnects aborts the body', async () => {
  const gone = request(`${server.url}/tools/wait`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
  })
  gone.on('error', () => {})
  gone.end(JSON.stringify({ call_id: newCallId(), arguments: { name: 'http' } }))
  await vi.waitFor(() => expect(bank.started).toContain('http'))
  gone.destroy()
  await vi.waitFor(() => expect(bank.aborted).toContain('http'))
})

/** With headers that `fetch` would not send. */
async function rawGet(path: string, headers: Record<string, string>) {
  const sent = request(`${server.url}${path}`, {
    headers: { authorization: `Bearer ${server.token}`, ...headers },
    setHost: false,
  })
  sent.end()
  const [response] = await once(sent, 'response')
  const text = (await response.setEncoding('utf8').toArray()).join('')
  return { status: response.statusCode, code: (JSON.parse(text) as { code?: string }).code }
}
