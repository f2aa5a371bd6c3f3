import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { script } from '../fixtures/hosted-cashiers.ts'
import { startRunsWorld, turn, type RunsWorld } from './runs-world.ts'

let world: RunsWorld
beforeAll(async () => {
  world = await startRunsWorld()
  await world.paused('paused', 'INV-1')
})
afterAll(() => world[Symbol.asyncDispose]())

const START = { agent: 'clerk', input: '[]' }
const DIGEST = 'a'.repeat(64)

describe('a body that does not fit is 400 and says where', () => {
  test.each<[string, string, unknown, RegExp]>([
    ['no agent', '/runs', { input: '[]' }, /^agent: /],
    ['no input', '/runs', { agent: 'clerk' }, /^input: /],
    ['an empty input', '/runs', { agent: 'clerk', input: '' }, /^input: /],
    ['an empty list', '/runs', { agent: 'clerk', input: [] }, /^input: /],
    ['an item that the SDK does not know', '/runs', { ...START, input: [{ type: 'nothing' }] }, /^input: /],
    ['an input of the wrong type', '/runs', { agent: 'clerk', input: 7 }, /^input: /],
    ['an unknown field', '/runs', { ...START, model: 'gpt-9' }, /model/],
    ['an empty run id', '/runs', { ...START, runId: '' }, /^runId: /],
    ['a run id of 129 characters', '/runs', { ...START, runId: 'x'.repeat(129) }, /^runId: /],
    ['a run id with a slash', '/runs', { ...START, runId: 'a/b' }, /^runId: /],
    ['a run id with a line break', '/runs', { ...START, runId: 'a\nb' }, /^runId: /],
    ['a run id that a path swallows', '/runs', { ...START, runId: '..' }, /^runId: /],
    ['a negative delay', '/runs', { ...START, delayMs: -1 }, /^delayMs: /],
    ['a delay of a year', '/runs', { ...START, delayMs: 365 * 86_400_000 }, /^delayMs: /],
    ['a delay that is no whole number', '/runs', { ...START, delayMs: 1.5 }, /^delayMs: /],
    ['an unknown onDisconnect', '/runs', { ...START, onDisconnect: 'retry' }, /^onDisconnect: /],
    [
      'a background run that ends with its caller',
      '/runs',
      { ...START, background: true, onDisconnect: 'cancel' },
      /^onDisconnect: /,
    ],
    ['a list in place of an object', '/runs', [START], /^body: /],
    ['a state in a resume', '/runs/paused/resume', { state: 'forged' }, /state/],
    ['no decisions', '/runs/paused/decisions', { decisions: [] }, /^decisions: /],
    [
      'a decision without a digest',
      '/runs/paused/decisions',
      { decisions: [{ callId: 'call_INV-1', approve: true }] },
      /^decisions\.0\.digest: /,
    ],
    [
      'approve as a text',
      '/runs/paused/decisions',
      { decisions: [{ callId: 'call_INV-1', digest: DIGEST, approve: 'true' }] },
      /^decisions\.0\.approve: /,
    ],
    [
      'a message to an approval',
      '/runs/paused/decisions',
      { decisions: [{ callId: 'call_INV-1', digest: DIGEST, approve: true, message: 'x' }] },
      /^decisions\.0\.message: /,
    ],
    [
      'other arguments with a decision',
      '/runs/paused/decisions',
      { decisions: [{ callId: 'call_INV-1', digest: DIGEST, approve: true, arguments: {} }] },
      /arguments/,
    ],
    [
      'two decisions on one call',
      '/runs/paused/decisions',
      {
        decisions: [true, false].map((approve) => ({ callId: 'call_INV-1', digest: DIGEST, approve })),
      },
      /each call only once/,
    ],
    ['an empty reason', '/runs/paused/cancel', { reason: '' }, /^reason: /],
    ['no reason', '/effects/hp_x/settle', { outcome: 'done' }, /^reason: /],
    ['an unknown outcome', '/effects/hp_x/settle', { outcome: 'maybe', reason: 'x' }, /^outcome: /],
    [
      'a result of what failed',
      '/effects/hp_x/settle',
      { outcome: 'failed', result: 1, reason: 'x' },
      /^result: /,
    ],
    ['a body for reconcile', '/effects/hp_x/reconcile', { outcome: 'done' }, /outcome/],
  ])('%s', async (_name, path, body, issue) => {
    const approving = /decisions|effects/.test(path)
    const answer = await world.post(path, body, approving ? world.tokens.approver : world.tokens.user)
    expect([answer.status, answer.body.code]).toEqual([400, 'BAD_REQUEST'])
    expect(answer.body.issues.join('\n')).toMatch(issue)
    expect(answer.body.request_id).toMatch(/^local_/)
  })

  test.each([
    ['a status that there is none of', 'status=sleeping', /^status: /],
    ['a limit of 0', 'limit=0', /^limit: /],
    ['a limit of 201', 'limit=201', /^limit: /],
    ['a limit twice', 'limit=1&limit=2', /^limit: /],
    ['another outcome', 'outcome=done', /^outcome: /],
    ['outcome with another filter', 'outcome=unknown&status=failed', /^outcome: /],
    ['an unknown filter', 'caller=user', /caller/],
  ])('GET /runs with %s', async (_name, query, issue) => {
    const answer = await world.get(`/runs?${query}`)
    expect([answer.status, answer.body.code]).toEqual([400, 'BAD_REQUEST'])
    expect(answer.body.issues.join('\n')).toMatch(issue)
  })

  test.each<[string, string, (deep: string) => string]>([
    [
      'an item of the input',
      '/runs',
      (deep) => `{"agent":"clerk","input":[{"role":"user","content":${deep}}]}`,
    ],
    [
      'what belongs to the provider of an item',
      '/runs',
      (deep) => `{"agent":"clerk","input":[{"role":"user","content":"x","providerData":{"a":${deep}}}]}`,
    ],
    ['the context', '/runs', (deep) => `{"agent":"clerk","input":"[]","context":${deep}}`],
    ['the context of a resume', '/runs/paused/resume', (deep) => `{"context":${deep}}`],
    ['what nobody asked for', '/runs/paused/cancel', (deep) => `{"x":${deep}}`],
  ])('%s, nested too deep', async (_name, path, body) => {
    for (const depth of [128, 5000, 200_000]) {
      const answer = await world.post(path, body('['.repeat(depth) + ']'.repeat(depth)))
      expect([depth, answer.status, answer.body.code]).toEqual([depth, 400, 'BAD_REQUEST'])
      expect(answer.body.issues).toEqual(['body: nested deeper than 128 levels'])
    }
  })

  test('JSON that is none', async () => {
    expect(await world.post('/runs', '{"agent":')).toMatchObject({
      status: 400,
      body: { code: 'MALFORMED_JSON' },
    })
  })

  test('a context for a run that waits: CONTEXT_NOT_KEPT', async () => {
    const answer = await world.post('/runs', { ...START, background: true, context: { user: 7 } })
    expect(answer).toMatchObject({ status: 400, body: { code: 'CONTEXT_NOT_KEPT' } })
  })
})

describe('what is not there', () => {
  test('a run', async () => {
    const notFound = { status: 404, body: { code: 'RUN_NOT_FOUND', message: expect.any(String) } }
    expect(await world.get('/runs/nothing')).toMatchObject(notFound)
    expect(await world.post('/runs/nothing/resume', {})).toMatchObject(notFound)
    expect(await world.post('/runs/nothing/cancel', {})).toMatchObject(notFound)
    const decisions = [{ callId: 'c', digest: DIGEST, approve: true }]
    expect(await world.post('/runs/nothing/decisions', { decisions }, world.tokens.approver)).toMatchObject(
      notFound,
    )
  })

  test('an agent', async () => {
    expect(await world.post('/runs', { ...START, agent: 'nobody' })).toMatchObject({
      status: 404,
      body: { code: 'AGENT_NOT_FOUND' },
    })
  })

  test('a call that waits, or one with these arguments', async () => {
    const decide = (callId: string) =>
      world.post(
        '/runs/paused/decisions',
        { decisions: [{ callId, digest: DIGEST, approve: true }] },
        world.tokens.approver,
      )
    expect(await decide('call_other')).toMatchObject({ status: 404, body: { code: 'APPROVAL_UNKNOWN' } })
    expect(await decide('call_INV-1')).toMatchObject({ status: 409, body: { code: 'APPROVAL_MISMATCH' } })
    expect((await world.show('paused')).approvals[0]?.state).toBe('waiting')
  })

  test('an effect', async () => {
    const word = { outcome: 'done', reason: 'x' }
    for (const [path, body] of [
      ['settle', word],
      ['reconcile', {}],
    ] as const) {
      expect(await world.post(`/effects/hp_nothing/${path}`, body, world.tokens.approver)).toMatchObject({
        status: 404,
        body: { code: 'EFFECT_NOT_FOUND' },
      })
    }
  })
})

test.each(['/runs', '/runs/paused/resume', '/runs/paused/cancel'])(
  'a body over 1 MiB to %s is 413, and nothing begins',
  async (path) => {
    const answer = await world.post(path, { agent: 'clerk', runId: 'big', input: 'x'.repeat(1024 * 1024) })
    expect([answer.status, answer.body.code]).toEqual([413, 'BODY_TOO_LARGE'])
    expect((await world.get('/runs/big')).status).toBe(404)
    expect((await world.show('paused')).status).toBe('interrupted')
  },
)

test('input items go to the model as they came', async () => {
  const input = [{ role: 'user', content: script([turn('fill', { bytes: 1 })]) }]
  const { status, body } = await world.post('/runs', { agent: 'clerk', input })
  expect([status, body.status]).toEqual([200, 'completed'])
})

test('a path that cannot be decoded is 400', async () => {
  const { port } = new URL(world.server.url)
  const status = await new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${world.tokens.user}` }
    request({ port, path: '/runs/%E0%A4%A', headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
  expect(status).toBe(400)
})
