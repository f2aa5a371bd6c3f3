import { beforeEach, describe, expect, test } from 'vitest'

import type { RunView } from '../../src/agents/hosted/run-types.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { pay } from '../fixtures/hosted-cashiers.ts'
import { PAYMENTS, SERVER, startHostedWorld, type HostedWorld } from '../fixtures/hosted-runs.ts'

const AUTHORITY_ID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/
const LOCAL_ID = /^local_[0-9a-f-]{36}$/

let world: HostedWorld
beforeEach(async () => {
  world = await startHostedWorld()
  return () => world[Symbol.asyncDispose]()
})

const paidInvoices = () => world.ran.map(({ subject }) => subject)

/** What the model was told about a call, and when it is a refusal, its fields. */
const stepsOf = async (runId: string) => (await world.show(runId)).steps

async function startApproved(runId: string): Promise<void> {
  const view = await world.start(runId, [[pay('call_1', 'INV-1')], [pay('call_2', 'INV-1')]])
  expect(view).toMatchObject({ status: 'interrupted', approvals: [{ callId: 'call_1', state: 'waiting' }] })
  await world.decide(runId, true)
}

/** The model, told of a denial, asks again: another call, which needs a person again, and is the same payment. */
async function completesWithOnePayment(view: RunView): Promise<void> {
  expect(view).toMatchObject({ status: 'interrupted', approvals: [{ callId: 'call_2', state: 'waiting' }] })
  expect(world.ran).toEqual([])
  await world.decide(view.runId, true)
  const resumed = await world.resume(view.runId)
  expect(resumed).toMatchObject({ status: 200, body: { status: 'completed', output: 'Done.' } })
  expect(paidInvoices()).toEqual(['INV-1'])
  expect(await world.resume(view.runId)).toMatchObject({ status: 409, body: { code: 'RUN_ENDED' } })
  expect(paidInvoices()).toEqual(['INV-1'])
}

/** A resume that was refused as a whole: the run is as it was, and says why. */
async function isStillPaused(runId: string, denial: object): Promise<void> {
  expect(world.ran).toEqual([])
  expect(await world.show(runId)).toMatchObject({
    status: 'interrupted',
    resumable: true,
    approvals: [{ callId: 'call_1', state: 'approved' }],
    denial,
  })
}

/** The first call is paid now; the second is the same payment, which has been made. */
async function goesOnAndPaysOnce(runId: string): Promise<void> {
  const first = await world.resume(runId)
  expect(first).toMatchObject({ status: 200, body: { status: 'interrupted' } })
  expect(paidInvoices()).toEqual(['INV-1'])
  await world.decide(runId, true)
  expect(await world.resume(runId)).toMatchObject({ status: 200, body: { status: 'completed' } })
  expect(paidInvoices()).toEqual(['INV-1'])
  expect(world.journal()).toEqual({ done: 1 })
}

describe('a hosted run and a stop', () => {
  test('G1: server revoked between pause and resume: 403, nothing is read or run; restored, it pays once', async () => {
    await startApproved('run_1')
    await world.authority.revoke(SERVER)
    const denied = await world.resume('run_1')
    const denial = { code: 'DEVICE_REVOKED', boundary: 'resume', device_id: SERVER, executed: false }
    expect(denied).toMatchObject({ status: 403, body: denial })
    expect(denied.body.request_id).toMatch(AUTHORITY_ID)
    await isStillPaused('run_1', { ...denial, request_id: denied.body.request_id })
    expect(world.journal()).toEqual({})

    await world.authority.restore(SERVER)
    await goesOnAndPaysOnce('run_1')
  })

  test('G1: payments revoked between pause and resume: the pending call is denied at its tool, then paid once', async () => {
    await startApproved('run_1')
    await world.authority.revoke(PAYMENTS)
    const { status, body } = await world.resume('run_1')
    expect(status).toBe(200)
    await wasDenied('run_1', { boundary: 'tool', code: 'DEVICE_REVOKED', device_id: PAYMENTS })
    expect(world.journal()).toEqual({})

    await world.authority.restore(PAYMENTS)
    await completesWithOnePayment(body as RunView)
    expect(world.journal()).toEqual({ done: 1 })
  })

  test('G1: revoked between resume and the pending tool: denied at `tool`, then paid once', async () => {
    await startApproved('run_1')
    revokeAfter('resume')
    const { status, body } = await world.resume('run_1')
    expect(status).toBe(200)
    await wasDenied('run_1', { boundary: 'tool', code: 'DEVICE_REVOKED', device_id: PAYMENTS })
    expect(world.journal()).toEqual({})

    await world.authority.restore(PAYMENTS)
    await completesWithOnePayment(body as RunView)
  })

  test('G1, G8: revoked between `tool` and the effect: denied at `side_effect`, with its intent on record, then paid once', async () => {
    await startApproved('run_1')
    revokeAfter('tool')
    const { status, body } = await world.resume('run_1')
    expect(status).toBe(200)
    await wasDenied('run_1', { boundary: 'side_effect', code: 'DEVICE_REVOKED', device_id: PAYMENTS })
    expect(world.journal()).toEqual({ denied: 1 })

    await world.authority.restore(PAYMENTS)
    await completesWithOnePayment(body as RunView)
    expect(world.journal()).toEqual({ done: 1 })
  })

  test('a tool that stops its run when it is denied ends it for good; a new run makes the payment once', async () => {
    const stopping = { ...pay('call_1', 'INV-1'), tool: 'pay_or_stop' }
    await world.start('run_1', [[stopping]])
    await world.decide('run_1', true)
    await world.authority.revoke(PAYMENTS)
    const denied = await world.resume('run_1')
    expect(denied).toMatchObject({
      status: 200,
      body: {
        status: 'denied',
        resumable: false,
        denial: { code: 'DEVICE_REVOKED', boundary: 'tool', device_id: PAYMENTS, on_denied: 'stop' },
      },
    })
    expect(denied.body.denial.request_id).toMatch(AUTHORITY_ID)

    await world.authority.restore(PAYMENTS)
    expect(await world.resume('run_1')).toMatchObject({ status: 409, body: { code: 'RUN_NOT_RESUMABLE' } })
    expect(world.ran).toEqual([])
    await world.start('run_2', [[stopping]])
    await world.decide('run_2', true)
    expect(await world.resume('run_2')).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(paidInvoices()).toEqual(['INV-1'])
  })

  test('G1: org disabled while approvals wait: they can be decided, no run resumes; enabled, each pays once', async () => {
    for (const runId of ['run_1', 'run_2']) await world.start(runId, [[pay('call_1', `INV-${runId}`)]])
    const disabled = await world.authority.post(
      PATHS.orgDisable,
      { reason: 'test' },
      world.authority.keys.stop,
    )
    expect(disabled.status).toBe(200)
    for (const runId of ['run_1', 'run_2']) {
      await world.decide(runId, true)
      const denied = await world.resume(runId)
      expect(denied).toMatchObject({ status: 403, body: { code: 'ORG_DISABLED', boundary: 'resume' } })
      expect(denied.body.request_id).toMatch(AUTHORITY_ID)
      await isStillPaused(runId, { code: 'ORG_DISABLED' })
    }

    const ifEpoch = Number(disabled.body.epoch)
    expect(
      await world.authority.post(PATHS.orgEnable, { ifEpoch }, world.authority.keys.admin),
    ).toMatchObject({ status: 200 })
    for (const runId of ['run_1', 'run_2'])
      expect(await world.resume(runId)).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(paidInvoices()).toEqual(['INV-run_1', 'INV-run_2'])
  })

  test('G4: control plane killed before resume: 503, the run is as it was; back again, it pays once', async () => {
    await startApproved('run_1')
    await world.authority.kill()
    const denied = await world.resume('run_1')
    expect(denied).toMatchObject({
      status: 503,
      body: { code: 'AUTHORITY_UNREACHABLE', boundary: 'resume', executed: false },
    })
    expect(denied.body.request_id).toMatch(LOCAL_ID)
    await isStillPaused('run_1', { code: 'AUTHORITY_UNREACHABLE', request_id: denied.body.request_id })

    await world.authority.restart()
    await goesOnAndPaysOnce('run_1')
  })

  test('G4: control plane killed in mid-run: the call is denied, no model is asked, the run can go on later', async () => {
    await startApproved('run_1')
    once('resume', () => world.authority.kill())
    const denied = await world.resume('run_1')
    expect(denied).toMatchObject({
      status: 200,
      body: { status: 'denied', resumable: true, denial: { code: 'AUTHORITY_UNREACHABLE' } },
    })
    expect(denied.body.denial.request_id).toMatch(LOCAL_ID)
    expect(world.ran).toEqual([])
    expect(world.journal()).toEqual({})

    await world.authority.restart()
    const { body } = await world.resume('run_1')
    await completesWithOnePayment(body as RunView)
  })

  test('G4: control plane killed between `tool` and the effect: the intent is on record, nothing is paid', async () => {
    await startApproved('run_1')
    once('tool', () => world.authority.kill())
    const denied = await world.resume('run_1')
    expect(denied).toMatchObject({ status: 200, body: { status: 'denied', resumable: true } })
    expect(world.ran).toEqual([])
    expect(world.journal()).toEqual({ denied: 1 })

    await world.authority.restart()
    const { body } = await world.resume('run_1')
    await completesWithOnePayment(body as RunView)
  })

  test('resumed three times at once: one wins, the others get 409, and there is one payment', async () => {
    await world.start('run_1', [[pay('call_1', 'INV-1')]])
    await world.decide('run_1', true)
    const others = Promise.withResolvers<void>()
    world.onPayment = () => others.promise
    let refused = 0
    const answers = await Promise.all(
      [1, 2, 3].map(async () => {
        const answer = await world.resume('run_1')
        if (answer.status === 409) refused += 1
        // The payment goes on only when both others have their answer.
        if (refused === 2) others.resolve()
        return answer
      }),
    )
    const byStatus = Object.groupBy(answers, ({ status }) => status)
    expect(byStatus[200]).toMatchObject([{ body: { status: 'completed' } }])
    expect(byStatus[409]).toMatchObject([{ body: { code: 'RUN_BUSY' } }, { body: { code: 'RUN_BUSY' } }])
    expect(paidInvoices()).toEqual(['INV-1'])
  })
})

describe('two replicas on one file', () => {
  const newKey = Buffer.alloc(32, 8)
  const oldKey = Buffer.alloc(32, 7)

  test('a run that paused on one resumes on the other, at whose own hold points it is stopped and let on', async () => {
    await using second = await startHostedWorld({ beside: world })
    await startApproved('run_1')
    await world.authority.revoke(PAYMENTS)
    expect(await second.resume('run_1')).toMatchObject({ status: 200, body: { status: 'interrupted' } })
    expect([world.ran, second.ran]).toEqual([[], []])
    await world.authority.restore(PAYMENTS)
    await second.decide('run_1', true)
    expect(await world.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(await second.resume('run_1')).toMatchObject({ status: 409, body: { code: 'RUN_ENDED' } })
    expect([paidInvoices(), second.ran]).toEqual([['INV-1'], []])
  })

  test('resumed three times on each at once: one of the six wins, and there is one payment', async () => {
    await using second = await startHostedWorld({ beside: world })
    for (let run = 0; run < 5; run++) {
      const runId = `run_${run}`
      await world.start(runId, [[pay('call_1', `INV-${run}`)]])
      await world.decide(runId, true)
      const answers = await Promise.all(
        [world, second, world, second, world, second].map((replica) => replica.resume(runId)),
      )
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
        200, 409, 409, 409, 409, 409,
      ])
    }
    const paid = [...world.ran, ...second.ran].map(({ subject }) => subject)
    expect(paid.toSorted()).toEqual(['INV-0', 'INV-1', 'INV-2', 'INV-3', 'INV-4'])
    expect(world.journal()).toEqual({ done: 5 })
  })

  test('with a new key first and the old one still there it opens; without the old one it is refused', async () => {
    await using without = await startHostedWorld({ beside: world, stateKeys: [newKey] })
    await using rotated = await startHostedWorld({ beside: world, stateKeys: [newKey, oldKey] })
    await startApproved('run_1')
    expect(await without.resume('run_1')).toMatchObject({ status: 409, body: { code: 'RUN_STATE_REFUSED' } })
    expect(await rotated.resume('run_1')).toMatchObject({ status: 200, body: { status: 'interrupted' } })
    // Sealed with the new one now.
    await rotated.decide('run_1', true)
    expect(await world.resume('run_1')).toMatchObject({ status: 409, body: { code: 'RUN_STATE_REFUSED' } })
    expect(await without.resume('run_1')).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect([...world.ran, ...rotated.ran, ...without.ran]).toHaveLength(1)
  })
})

describe('the same payment from several runs', () => {
  test('is made once, whoever resumes them: by its caller, by an approver, one after the other', async () => {
    for (const runId of ['run_1', 'run_2', 'run_3']) {
      await world.start(runId, [[pay('call_1', 'INV-1')]])
      await world.decide(runId, true)
    }
    const { user, approver } = world.tokens
    for (const [runId, token] of [
      ['run_1', approver],
      ['run_2', user],
      ['run_3', approver],
    ] as const)
      expect(await world.resume(runId, token)).toMatchObject({ status: 200, body: { status: 'completed' } })
    expect(paidInvoices()).toEqual(['INV-1'])
    expect(world.journal()).toEqual({ done: 1 })
  })

  test('is made once when they are resumed at the same time; for another caller it is another payment', async () => {
    const runs = Array.from({ length: 8 }, (_, run) => `run_${run}`)
    const tokenOf = (runId: string) => (runId === 'run_7' ? world.tokens.other : world.tokens.user)
    for (const runId of runs) {
      await world.start(runId, [[pay('call_1', 'INV-1')]], tokenOf(runId))
      await world.decide(runId, true)
    }
    const answers = await Promise.all(runs.map((runId) => world.resume(runId, tokenOf(runId))))
    expect(answers.map(({ body }) => body.status)).toEqual(runs.map(() => 'completed'))
    expect(paidInvoices()).toEqual(['INV-1', 'INV-1'])
    expect(new Set(world.ran.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(2)
    expect(world.journal()).toEqual({ done: 2 })
  })
})

/** The call's step in the timeline, with the authority's request id (G8). */
async function wasDenied(runId: string, denial: Record<string, unknown>): Promise<void> {
  expect(world.ran).toEqual([])
  const steps = await stepsOf(runId)
  const denied = steps.filter(({ type }) => type === 'denied')
  expect(denied).toEqual([expect.objectContaining({ ...denial, call_id: 'call_1' })])
  expect(denied[0]?.['request_id']).toMatch(AUTHORITY_ID)
}

/** Payments are revoked, and that is acked, when the next question at this boundary has been allowed. */
function revokeAfter(boundary: string): void {
  once(boundary, () => world.authority.revoke(PAYMENTS))
}

function once(boundary: string, act: () => Promise<unknown>): void {
  world.onAnswer = (question) => {
    if (question.boundary !== boundary) return undefined
    world.onAnswer = () => undefined
    return act()
  }
}
