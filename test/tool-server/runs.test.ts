import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createToolServer } from '../../src/tool-server/tool-server.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { PAYMENTS } from './start.ts'
import { startRunsWorld, starting, turn, type RunsWorld } from './runs-world.ts'

let world: RunsWorld
beforeEach(async () => {
  world = await startRunsWorld()
})
afterEach(() => world[Symbol.asyncDispose]())

describe('a run', () => {
  test('pauses where a person must approve, and shows exactly what would run', async () => {
    const { status, body } = await world.paused('r1', 'INV-1')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      runId: 'r1',
      agent: 'clerk',
      status: 'interrupted',
      resumable: true,
      approvals: [
        {
          callId: 'call_INV-1',
          tool: 'pay_invoice',
          arguments: { invoiceId: 'INV-1', currency: 'usd' },
          surface: 'payments',
          state: 'waiting',
          digest: expect.any(String),
          expiresAt: expect.any(String),
        },
      ],
    })
    expect(world.desk.paid).toEqual([])
  })

  test('goes on once it is approved and resumed: paid once, and the whole story is told', async () => {
    await world.paused('r1', 'INV-1')
    const decided = await world.approveAll('r1')
    expect([decided.status, decided.body.status, world.desk.paid]).toEqual([200, 'interrupted', []])
    const resumed = await world.post('/runs/r1/resume', {})
    expect(resumed).toMatchObject({ status: 200, body: { status: 'completed', output: 'Done.' } })
    expect(world.desk.paid).toEqual(['INV-1'])

    const { body } = await world.get('/runs/r1')
    expect(body).toMatchObject({
      status: 'completed',
      approvals: [],
      allApprovals: [{ callId: 'call_INV-1', state: 'used', decidedBy: 'approver' }],
      effects: [{ state: 'done', tool: 'pay_invoice', callId: 'call_INV-1', runId: 'r1' }],
      operatorLog: [{ action: 'approval.approve', by: 'approver', runId: 'r1' }],
    })
    expect(body.steps.map(({ type }: { type: string }) => type)).toEqual(
      expect.arrayContaining(['run_started', 'approval_asked', 'run_resumed', 'allowed', 'tool_output']),
    )
    expect(await world.post('/runs/r1/resume', {})).toMatchObject({
      status: 409,
      body: { code: 'RUN_ENDED' },
    })
  })

  test('a decline is told to the model with its message, and nothing is paid', async () => {
    const { body } = await world.paused('r1', 'INV-1')
    const { callId, digest } = body.approvals[0]
    const decisions = [{ callId, digest, approve: false, message: 'Not before June.' }]
    expect((await world.post('/runs/r1/decisions', { decisions }, world.tokens.approver)).status).toBe(200)
    const stream = await world.stream('/runs/r1/resume', {})
    const [output] = await stream.next(1, ({ event }) => event === 'tool_output')
    expect(output?.data.output).toContain('Not before June.')
    await stream.next(1, ({ event }) => event === 'run_ended')
    expect(world.desk.paid).toEqual([])
  })

  test('the same id with the same request is the same run, with another request 409', async () => {
    const first = await world.paused('r1', 'INV-1')
    const again = await world.paused('r1', 'INV-1')
    expect(again).toMatchObject({ status: 200, body: { runId: 'r1', createdAt: first.body.createdAt } })
    expect(await world.paused('r1', 'INV-2')).toMatchObject({ status: 409, body: { code: 'RUN_ID_TAKEN' } })
  })

  test('a run in the background is answered 202 at once, and completes', async () => {
    const asked = starting('r1', [turn('fill', { bytes: 10 })], { background: true })
    const { status, body } = await world.post('/runs', asked)
    expect([status, body.runId]).toEqual([202, 'r1'])
    expect(['queued', 'running']).toContain(body.status)
    await expect.poll(async () => (await world.show('r1')).status, { timeout: 5000 }).toBe('completed')
  })

  test('a delayed run says when it begins, and can be cancelled before', async () => {
    const asked = starting('r1', [turn('fill', { bytes: 10 })], { delayMs: 60_000 })
    const { status, body } = await world.post('/runs', asked)
    expect([status, body.status]).toEqual([202, 'queued'])
    expect(Date.parse(body.startsAt) - Date.parse(body.createdAt)).toBe(60_000)
    expect(await world.post('/runs/r1/cancel', { reason: 'no longer needed' })).toMatchObject({
      status: 200,
      body: { status: 'cancelled' },
    })
    expect((await world.show('r1')).operatorLog).toMatchObject([
      { action: 'run.cancel', by: 'user', reason: 'no longer needed' },
    ])
  })

  test('a running one that is cancelled ends as cancelled, its body aborted', async () => {
    const running = world.post('/runs', starting('r1', [turn('wait', { name: 'one' })]))
    await expect.poll(() => world.desk.started).toEqual(['one'])
    const cancelled = await world.post('/runs/r1/cancel', undefined)
    expect([200, 202]).toContain(cancelled.status)
    expect(await running).toMatchObject({ status: 200, body: { status: 'cancelled' } })
    expect(world.desk.aborted).toEqual(['one'])
  })

  test('a model that fails ends it as failed, without a stack', async () => {
    const { status, body } = await world.post('/runs', { agent: 'clerk', runId: 'r1', input: 'not a script' })
    expect([status, body.status]).toEqual([200, 'failed'])
    expect(body.error).toMatchObject({ code: expect.any(String), message: expect.any(String) })
    expect(JSON.stringify(body)).not.toMatch(/\bat .*\.ts:|node_modules/)
  })
})

describe('a resume that is denied', () => {
  test('answers the whole denial with 403, and the run is as it was', async () => {
    await world.paused('r1', 'INV-1')
    await world.approveAll('r1')
    const epoch = await world.server.authority.revoke(world.server.guard.serverDeviceId)
    const denied = await world.post('/runs/r1/resume', {})
    expect(denied).toMatchObject({
      status: 403,
      body: {
        error: 'permission_denied',
        code: 'DEVICE_REVOKED',
        boundary: 'resume',
        executed: false,
        request_id: expect.any(String),
      },
    })
    expect(await world.show('r1')).toMatchObject({
      status: 'interrupted',
      denial: { code: 'DEVICE_REVOKED' },
      approvals: [{ state: 'approved' }],
    })
    expect(epoch).toBeGreaterThan(0)
    await world.server.authority.restore(world.server.guard.serverDeviceId)
    expect((await world.post('/runs/r1/resume', {})).body.status).toBe('completed')
    expect(world.desk.paid).toEqual(['INV-1'])
  })

  test('answers 503 when permission could not be asked for', async () => {
    await world.paused('r1', 'INV-1')
    await world.server.authority.kill()
    expect(await world.post('/runs/r1/resume', {})).toMatchObject({
      status: 503,
      body: { error: 'permission_check_unavailable', boundary: 'resume' },
    })
    expect((await world.show('r1')).status).toBe('interrupted')
  })

  test('payments revoked between pause and resume: the run goes on, the payment does not happen', async () => {
    await world.paused('r1', 'INV-1')
    await world.approveAll('r1')
    await world.server.authority.revoke(PAYMENTS)
    expect((await world.post('/runs/r1/resume', {})).status).toBe(200)
    expect(world.desk.paid).toEqual([])
  })
})

test('three resumes at once: one goes on, the others are RUN_BUSY or find it ended, and it is paid once', async () => {
  await world.paused('r1', 'INV-1')
  await world.approveAll('r1')
  const answers = await Promise.all([1, 2, 3].map(() => world.post('/runs/r1/resume', {})))
  const statuses = answers.map(({ status }) => status).sort()
  expect(statuses).toEqual([200, 409, 409])
  expect(world.desk.paid).toEqual(['INV-1'])
})

describe('lists', () => {
  test('a caller sees its own runs, newest first, in pages; an approver all', async () => {
    for (const runId of ['a1', 'a2', 'a3']) await world.paused(runId, `INV-${runId}`)
    await world.post('/runs', starting('b1', [turn('fill', { bytes: 1 })]), world.tokens.stranger)
    const ids = ({ body }: Awaited<ReturnType<RunsWorld['get']>>) =>
      body.runs.map(({ runId }: { runId: string }) => runId)

    const first = await world.get('/runs?limit=2')
    expect([ids(first), first.body.next]).toEqual([['a3', 'a2'], 'a2'])
    const second = await world.get('/runs?limit=2&before=a2')
    expect([ids(second), second.body.next]).toEqual([['a1'], null])
    expect(ids(await world.get('/runs', world.tokens.stranger))).toEqual(['b1'])
    expect(ids(await world.get('/runs', world.tokens.approver))).toEqual(['b1', 'a3', 'a2', 'a1'])
    expect(ids(await world.get('/runs?status=completed', world.tokens.approver))).toEqual(['b1'])
    expect(ids(await world.get('/runs?agent=nobody', world.tokens.approver))).toEqual([])
  })

  test('GET /approvals has every call that waits, with its run, the first to expire first', async () => {
    await world.paused('r1', 'INV-1', 'INV-2')
    await world.paused('r2', 'INV-3')
    const { body } = await world.get('/approvals', world.tokens.approver)
    expect(
      body.approvals.map(
        ({ runId, arguments: args }: { runId: string; arguments: { invoiceId: string } }) => [
          runId,
          args.invoiceId,
        ],
      ),
    ).toEqual([
      ['r1', 'INV-1'],
      ['r1', 'INV-2'],
      ['r2', 'INV-3'],
    ])
    const first = await world.get('/approvals?limit=1', world.tokens.approver)
    expect(first.body.approvals).toEqual([body.approvals[0]])
    await world.approveAll('r2')
    expect((await world.get('/approvals', world.tokens.approver)).body.approvals).toHaveLength(2)
  })

  test('GET /readyz counts what runs and waits', async () => {
    await world.paused('r1', 'INV-1', 'INV-2')
    await world.post('/runs', starting('r2', [turn('fill', { bytes: 1 })], { delayMs: 60_000 }))
    const { body } = await world.get('/readyz', '')
    expect(body.runs).toEqual({ queued: 1, running: 0, interrupted: 1, waiting_approvals: 2 })
  })
})

describe('the run of another caller', () => {
  test('is not there: not to see, to resume, to cancel, to follow, nor its id to take', async () => {
    await world.paused('r1', 'INV-1')
    await world.approveAll('r1')
    const { stranger } = world.tokens
    const notFound = { status: 404, body: { code: 'RUN_NOT_FOUND' } }
    expect(await world.get('/runs/r1', stranger)).toMatchObject(notFound)
    expect(await world.post('/runs/r1/resume', {}, stranger)).toMatchObject(notFound)
    expect(await world.post('/runs/r1/cancel', {}, stranger)).toMatchObject(notFound)
    const followed = await world.stream('/runs/r1', undefined, stranger)
    await followed.closed
    expect([followed.status, followed.json()]).toMatchObject([404, { code: 'RUN_NOT_FOUND' }])
    const taken = await world.post('/runs', starting('r1', [turn('fill', { bytes: 1 })]), stranger)
    expect(taken).toMatchObject({ status: 409, body: { code: 'RUN_ID_TAKEN' } })
    expect([(await world.show('r1')).status, world.desk.paid]).toEqual(['interrupted', []])
  })
})

describe('effects of which nobody knows', () => {
  const lose = (runId: string) =>
    world.post('/runs', starting(runId, [turn('lose_payment', { invoiceId: `INV-${runId}` })]))

  test('are listed with their runs, those of single calls apart', async () => {
    await lose('r1')
    await world.post('/runs', starting('r2', [turn('fill', { bytes: 1 })]))
    const tokens = world.tokens
    await world.post(
      '/tools/lose_payment',
      { call_id: 'c', run_id: 'r2', arguments: { invoiceId: 'INV-9' } },
      tokens['tools:call'],
    )
    const { status, body } = await world.get('/runs?outcome=unknown', tokens.approver)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      runs: [{ runId: 'r1', effects: [{ state: 'unknown', tool: 'lose_payment', kind: 'payment' }] }],
      effects: [{ state: 'unknown', callId: 'c', runId: 'r2' }],
    })
    expect((await world.get('/runs?outcome=unknown', tokens.stranger)).body).toEqual({
      runs: [],
      effects: [],
    })
  })

  test('an operator settles one, which is written down, once', async () => {
    await lose('r1')
    const [effect] = (await world.show('r1')).effects
    const settle = (body: object) => world.post(`/effects/${effect?.id}/settle`, body, world.tokens.approver)
    const settled = await settle({ outcome: 'done', result: { paid: true }, reason: 'the bank shows it' })
    expect(settled).toMatchObject({ status: 200, body: { id: effect?.id, state: 'done' } })
    expect((await world.show('r1')).operatorLog).toMatchObject([
      { action: 'effect.settle', by: 'approver', reason: 'the bank shows it' },
    ])
    expect(await settle({ outcome: 'failed', reason: 'changed my mind' })).toMatchObject({
      status: 404,
      body: { code: 'EFFECT_NOT_FOUND', message: expect.stringContaining('settled already') },
    })
  })

  test('reconcile asks the sink: what it does not know stays unknown, what it knows is settled', async () => {
    await lose('r1')
    const [effect] = (await world.show('r1')).effects
    const reconcile = () => world.post(`/effects/${effect?.id}/reconcile`, undefined, world.tokens.approver)
    expect(await reconcile()).toMatchObject({ status: 200, body: { state: 'unknown' } })
    world.desk.truth = 'done'
    expect(await reconcile()).toMatchObject({ status: 200, body: { state: 'done' } })
  })
})

describe('what cannot be hosted: GUARD_MISCONFIGURED', () => {
  test.each([
    ['agents without a store', { agents: [{ agent: {} as never }] }, /agents: hosted agents need a store/],
    ['a store without agents', { runs: {} as never }, /runs: no agent is hosted/],
    [
      'a store with another journal than the guard',
      { agents: [{ agent: {} as never }], runs: { store: { journal: {} } as never, stateKeys: [] } },
      /need the same journal/,
    ],
  ])('%s', async (_name, options, message) => {
    const { guard } = await startedGuard()
    expect(() => createToolServer({ guard, tools: [], ...options })).toThrow(
      expect.objectContaining({ code: 'GUARD_MISCONFIGURED', message: expect.stringMatching(message) }),
    )
  })

  test('without agents there are no routes for runs', async () => {
    const { guard } = await startedGuard()
    const server = createToolServer({ guard, tools: [] })
    const { url } = await server.listen({ port: 0 })
    const answer = await fetch(`${url}/runs`)
    expect([answer.status, await answer.json()]).toMatchObject([404, { code: 'ROUTE_NOT_FOUND' }])
    expect(server.runs).toBeUndefined()
    await server.close()
  })
})
