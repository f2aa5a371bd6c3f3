import { readFileSync } from 'node:fs'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { beforeEach, describe, expect, test } from 'vitest'

import type { ApprovalView } from '../../src/agents/hosted/run-types.ts'
import { pay, script } from '../fixtures/hosted-cashiers.ts'
import { startHostedWorld, type HostedWorld } from '../fixtures/hosted-runs.ts'

let world: HostedWorld
beforeEach(async () => {
  world = await startHostedWorld()
  return () => world[Symbol.asyncDispose]()
})

/** How long an approval counts, and a little more. */
const TOO_LONG_MS = 16 * 60_000

const paidInvoices = () => world.ran.map(({ subject }) => subject)

async function startApproved(runId: string, invoiceId = 'INV-1', token?: string): Promise<void> {
  await world.start(runId, [[pay('call_1', invoiceId)]], token)
  await world.decide(runId, true)
}

async function pendingApproval(runId: string): Promise<ApprovalView> {
  const [approval] = (await world.show(runId, world.tokens.approver)).approvals
  if (approval === undefined) throw new Error(`${runId} waits for nobody`)
  return approval
}

function stateOf(runId: string): Buffer {
  const [row] = world.rows('SELECT state FROM run_states WHERE run_id = ?', runId)
  return Buffer.from(row?.['state'] as Uint8Array)
}

function store(runId: string, state: Uint8Array): void {
  expect(world.edit('UPDATE run_states SET state = ? WHERE run_id = ?', state, runId)).toBe(1)
}

describe('a stored state', () => {
  const refused = { status: 409, body: { code: 'RUN_STATE_REFUSED' } }

  /** Where each part of a sealed state lies, from its front or from its end. */
  const PARTS = [
    ['format', 0, 1],
    ['key id', 1, 9],
    ['nonce', 9, 21],
    ['ciphertext', 21, -16],
    ['tag', -16, undefined],
  ] as const

  test.each(PARTS)(
    'of which any byte of its %s was flipped is refused, and runs when it is put back',
    async (_part, from, to) => {
      await startApproved('run_1')
      const state = stateOf('run_1')
      const places = [...state.keys()].slice(from, to)
      // Of the long ciphertext the ends and the middle.
      const few =
        places.length <= 16
          ? places
          : [0, 1, places.length >> 1, places.length - 1].map((at) => places[at] as number)
      for (const place of few) {
        const flipped = Buffer.from(state)
        flipped[place] = (flipped[place] as number) ^ 0x01
        store('run_1', flipped)
        expect(await world.resume('run_1')).toMatchObject(refused)
      }
      expect(world.ran).toEqual([])
      expect(world.journal()).toEqual({})
      store('run_1', state)
      expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
      expect(paidInvoices()).toEqual(['INV-1'])
    },
  )

  test('that was cut short, or made longer, is refused', async () => {
    await startApproved('run_1')
    const state = stateOf('run_1')
    for (const length of [0, 1, 20, 21, 36, 37, state.length - 17, state.length - 16, state.length - 1]) {
      store('run_1', state.subarray(0, length))
      expect(await world.resume('run_1')).toMatchObject(refused)
    }
    store('run_1', Buffer.concat([state, Buffer.of(0)]))
    expect(await world.resume('run_1')).toMatchObject(refused)
    expect(world.ran).toEqual([])
  })

  test.each([
    ['run of the same caller', 'user'],
    ['run of another caller', 'other'],
  ] as const)('of another %s is refused', async (_whose, owner) => {
    await startApproved('run_1', 'INV-1')
    await startApproved('run_2', 'INV-2', world.tokens[owner])
    const [first, second] = [stateOf('run_1'), stateOf('run_2')]
    store('run_1', second)
    store('run_2', first)
    expect(await world.resume('run_1')).toMatchObject(refused)
    expect(await world.resume('run_2', world.tokens[owner])).toMatchObject(refused)
    expect(world.ran).toEqual([])
  })

  test('that is older than the latest one of the same run is refused', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1')], [pay('call_2', 'INV-2')]])
    const older = stateOf('run_1')
    await world.decide('run_1', true)
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'interrupted' } })
    const newer = stateOf('run_1')
    await world.decide('run_1', true)
    store('run_1', older)
    expect(await world.resume('run_1')).toMatchObject(refused)
    expect(paidInvoices()).toEqual(['INV-1'])
    store('run_1', newer)
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(paidInvoices()).toEqual(['INV-1', 'INV-2'])
  })

  test('put back together with its version, so that it opens: what was paid is not paid again', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1')]])
    const older = stateOf('run_1')
    const [row] = world.rows('SELECT version FROM runs WHERE run_id = ?', 'run_1')
    await world.decide('run_1', true)
    expect(await world.resume('run_1')).toMatchObject({ body: { status: 'completed' } })
    const back = `UPDATE runs SET status = 'interrupted', resumable = 1, version = ? WHERE run_id = 'run_1'`
    expect(world.edit(back, row?.['version'] as number)).toBe(1)
    store('run_1', older)
    const again = await world.resume('run_1')
    expect(again.body.code).not.toBe('RUN_STATE_REFUSED')
    expect(paidInvoices()).toEqual(['INV-1'])
    expect(world.journal()).toEqual({ done: 1 })
  })
})

test("the server's file has neither the app's context nor what the model wrote or a tool that only reads gave", async () => {
  const input = script([
    [{ tool: 'fill', args: { bytes: 64 }, callId: 'call_0' }],
    [{ tool: 'look_at_secret', args: { subject: 'FROM-THE-MODEL' }, callId: 'call_1' }],
  ])
  const context = { apiKey: 'FROM-THE-APP' }
  const asked = { agent: 'cashier', runId: 'run_1', input, context }
  expect(await world.post('/runs', asked)).toMatchObject({ status: 200, body: { status: 'interrupted' } })
  const inFile = () => [world.file, `${world.file}-wal`].map((file) => readFileSync(file, 'latin1')).join('')
  const secrets = ['FROM-THE-APP', 'FROM-THE-MODEL', 'x'.repeat(64)]
  const found = () => secrets.filter((secret) => inFile().includes(secret))
  expect(found()).toEqual([])
  await world.decide('run_1', true)
  expect(await world.resume('run_1')).toMatchObject({ status: 409, body: { code: 'CONTEXT_CHANGED' } })
  expect(await world.post('/runs/run_1/resume', { context })).toMatchObject({ body: { status: 'completed' } })
  expect(found()).toEqual([])
  // They would be found.
  world.edit("INSERT INTO run_steps VALUES ('run_1', 999, 0, 'test', 'FROM-THE-APP')")
  expect(found()).toEqual(['FROM-THE-APP'])
})

describe('an approval', () => {
  test('does not count for the same call id with other arguments, nor with the same: the run fails, and nothing more is paid', async () => {
    for (const [runId, invoiceId] of [
      ['run_1', 'INV-2'],
      ['run_2', 'INV-1'],
    ] as const) {
      world.ran.length = 0
      await world.start(runId, [[pay('call_1', `${runId}:INV-1`)], [pay('call_1', `${runId}:${invoiceId}`)]])
      await world.decide(runId, true)
      for (const _again of [1, 2]) {
        expect(await world.resume(runId)).toMatchObject({
          body: { status: 'failed' },
        })
        expect(paidInvoices()).toEqual([`${runId}:INV-1`])
      }
    }
  })

  test('counts in its own run only', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1')]])
    await world.start('run_2', [[pay('call_1', 'INV-1')]])
    await world.decide('run_1', true)
    expect(await world.resume('run_2')).toMatchObject({ status: 200, body: { status: 'interrupted' } })
    expect(world.ran).toEqual([])
  })

  test('cannot be decided twice, nor after its run has ended', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1')]])
    const { callId, digest } = await pendingApproval('run_1')
    const decide = (approve: boolean) =>
      world.post('/runs/run_1/decisions', { decisions: [{ callId, digest, approve }] }, world.tokens.approver)
    expect(await decide(false)).toMatchObject({ status: 200 })
    expect(await decide(true)).toMatchObject({ status: 409, body: { code: 'APPROVAL_DECIDED' } })
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect((await decide(true)).status).toBe(409)
    expect(await world.resume('run_1')).toMatchObject({ status: 409, body: { code: 'RUN_ENDED' } })
    expect(world.ran).toEqual([])
  })

  test('of a cancelled run lets nothing begin', async () => {
    await startApproved('run_1')
    expect(await world.post('/runs/run_1/cancel', {})).toMatchObject({ body: { status: 'cancelled' } })
    expect(await world.resume('run_1')).toMatchObject({ status: 409, body: { code: 'RUN_ENDED' } })
    expect(world.ran).toEqual([])
  })

  test('that expired lets nothing begin, also when the clock is set back; a new one is asked for, and counts once', async () => {
    await startApproved('run_1')
    world.clock.skewMs += TOO_LONG_MS
    const late = await world.resume('run_1')
    expect(late).toMatchObject({
      status: 200,
      body: { status: 'interrupted', approvals: [{ callId: 'call_1', state: 'waiting' }] },
    })
    world.clock.skewMs = 0
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'interrupted' } })
    expect(world.ran).toEqual([])
    await world.decide('run_1', true)
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(paidInvoices()).toEqual(['INV-1'])
  })

  test('that expires between the `tool` boundary and the effect lets nothing begin', async () => {
    await using own = await startHostedWorld({ approvalTtlMs: 5000 })
    await own.start('run_1', [[pay('call_1', 'INV-1')]])
    await own.decide('run_1', true)
    own.onAnswer = async ({ boundary }) => {
      // Not so far that the run's lease passes too.
      if (boundary === 'tool') own.clock.skewMs = 6000
    }
    expect(await own.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
    const outputs = (await own.show('run_1')).steps.filter(({ type }) => type === 'tool_output')
    expect(outputs).toEqual([expect.objectContaining({ call_id: 'call_1', code: 'APPROVAL_EXPIRED' })])
    expect(own.ran).toEqual([])
    expect(own.journal()).toEqual({})
  })

  test('that expired while it waited cannot be given any more', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1')]])
    const { callId, digest } = await pendingApproval('run_1')
    world.clock.skewMs += TOO_LONG_MS
    const decisions = [{ callId, digest, approve: true }]
    expect(await world.post('/runs/run_1/decisions', { decisions }, world.tokens.approver)).toMatchObject({
      status: 409,
      body: { code: 'APPROVAL_EXPIRED' },
    })
    expect(world.ran).toEqual([])
  })

  test('for another digest than the one shown is refused, and so is the whole list it is in', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1'), pay('call_2', 'INV-2')]])
    const { approvals } = await world.show('run_1', world.tokens.approver)
    const [one, two] = approvals
    const decisions = [
      { callId: one?.callId, digest: one?.digest, approve: true },
      { callId: two?.callId, digest: one?.digest, approve: true },
    ]
    expect(await world.post('/runs/run_1/decisions', { decisions }, world.tokens.approver)).toMatchObject({
      status: 409,
      body: { code: 'APPROVAL_MISMATCH' },
    })
    const unknown = [{ ...decisions[0], callId: 'call_3' }]
    const forUnknown = { decisions: unknown }
    expect(await world.post('/runs/run_1/decisions', forUnknown, world.tokens.approver)).toMatchObject({
      status: 404,
      body: { code: 'APPROVAL_UNKNOWN' },
    })
    expect(await world.resume('run_1')).toMatchObject({
      body: { status: 'interrupted', approvals: [{ state: 'waiting' }, { state: 'waiting' }] },
    })
    expect(world.ran).toEqual([])
  })

  test('of which the digest or the stored arguments were changed lets nothing begin', async () => {
    await startApproved('run_1', 'INV-1')
    await startApproved('run_2', 'INV-2')
    const [other] = world.rows("SELECT arguments, digest FROM approvals WHERE run_id = 'run_2'")
    const [mine] = world.rows("SELECT arguments, digest FROM approvals WHERE run_id = 'run_1'")
    // What is shown is sealed for its approval: a person is shown nothing rather than something else.
    world.edit("UPDATE approvals SET arguments = ? WHERE run_id = 'run_1'", other?.['arguments'] ?? null)
    expect((await pendingApproval('run_1')).arguments).toBeUndefined()
    world.edit(
      "UPDATE approvals SET arguments = ?, digest = ? WHERE run_id = 'run_1'",
      mine?.['arguments'] ?? null,
      other?.['digest'] ?? null,
    )
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'interrupted' } })
    expect(world.ran).toEqual([])
  })

  test('of a call without effects is used up as well; declined, it never runs', async () => {
    const look = (callId: string) => ({ tool: 'look_at_secret', args: { subject: 'pay' }, callId })
    await world.start('run_1', [[look('call_1')], [look('call_2')]])
    const older = stateOf('run_1')
    await world.decide('run_1', true)
    expect(await world.resume('run_1')).toMatchObject({ body: { status: 'interrupted' } })
    expect(world.ran).toMatchObject([{ callId: 'call_1' }])

    // Before the call once more: its approval is spent, and a new one is asked for.
    store('run_1', older)
    world.edit("UPDATE runs SET version = version - 1 WHERE run_id = 'run_1'")
    expect(await world.resume('run_1')).toMatchObject({
      body: { status: 'interrupted', approvals: [{ callId: 'call_1', state: 'waiting' }] },
    })
    expect(world.ran).toHaveLength(1)
    await world.decide('run_1', false, 'No.')
    await world.resume('run_1')
    await world.decide('run_1', false, 'No.')
    await world.resume('run_1')
    expect(await world.show('run_1')).toMatchObject({ status: 'completed' })
    expect(world.ran).toHaveLength(1)
  })
})

describe('whoever may not', () => {
  const nobodies = () => [
    ['no token', ''],
    ['a made-up token', `hpc_${'A'.repeat(43)}`],
    ['the runtime key of the org', world.authority.keys.runtime],
    ['the admin key of the org', world.authority.keys.admin],
  ]

  test('cannot decide: neither a key of the org, nor who calls tools, nor who started the run', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1')]])
    const { callId, digest } = await pendingApproval('run_1')
    const body = { decisions: [{ callId, digest, approve: true }] }
    for (const [, token] of nobodies()) {
      expect(await world.post('/runs/run_1/decisions', body, token)).toMatchObject({
        status: 401,
        body: { code: 'CALLER_UNAUTHENTICATED' },
      })
    }
    for (const token of [world.tokens.caller, world.tokens.user, world.tokens.other]) {
      expect(await world.post('/runs/run_1/decisions', body, token)).toMatchObject({
        status: 403,
        body: { code: 'INSUFFICIENT_SCOPE' },
      })
    }
    expect((await pendingApproval('run_1')).state).toBe('waiting')
    expect(await world.resume('run_1')).toMatchObject({ body: { status: 'interrupted' } })
    expect(world.ran).toEqual([])
  })

  test('cannot resume, see or cancel the run', async () => {
    await startApproved('run_1')
    const asks = (token: string) => [
      world.resume('run_1', token),
      world.get('/runs/run_1', token),
      world.post('/runs/run_1/cancel', {}, token),
    ]
    for (const [, token] of nobodies())
      for (const answer of await Promise.all(asks(token as string))) expect(answer.status).toBe(401)
    for (const answer of await Promise.all(asks(world.tokens.caller)))
      expect(answer).toMatchObject({ status: 403, body: { code: 'INSUFFICIENT_SCOPE' } })
    for (const answer of await Promise.all(asks(world.tokens.other)))
      expect(answer).toMatchObject({ status: 404, body: { code: 'RUN_NOT_FOUND' } })
    expect((await world.get('/runs', world.tokens.other)).body.runs).toEqual([])
    expect(world.ran).toEqual([])
    expect((await world.show('run_1')).status).toBe('interrupted')
  })

  test('cannot take the approval with a forged call id and run id, over POST /tools and /mcp', async () => {
    await startApproved('run_1')
    const { args } = pay('call_1', 'INV-1')
    for (const token of [world.tokens.user, world.tokens.other, world.tokens.caller]) {
      const posted = await world.post(
        '/tools/send_payment',
        { call_id: 'call_1', run_id: 'run_1', arguments: args },
        token,
      )
      expect(posted).toMatchObject({ status: 403, body: { code: 'APPROVAL_REQUIRED', executed: false } })
      const overMcp = await callMcp(token, args)
      expect(overMcp).toMatchObject({ code: 'APPROVAL_REQUIRED', executed: false })
    }
    expect(world.ran).toEqual([])
    expect(world.journal()).toEqual({})
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(paidInvoices()).toEqual(['INV-1'])
  })
})

/** The tool over MCP, as the call and run of somebody else. Gives what the model would be told. */
async function callMcp(token: string, args: Readonly<Record<string, unknown>>): Promise<unknown> {
  const client = new Client({ name: 'forger', version: '1.0.0' })
  const requestInit = { headers: { authorization: `Bearer ${token}` } }
  await client.connect(new StreamableHTTPClientTransport(new URL(`${world.url}/mcp`), { requestInit }))
  const result = await client.callTool({
    name: 'send_payment',
    arguments: args,
    _meta: { 'holdpoint/call_id': 'call_1', 'holdpoint/run_id': 'run_1' },
  })
  await client.close()
  expect(result.isError).toBe(true)
  const [content] = result.content as { text: string }[]
  return JSON.parse(content?.text ?? '')
}
