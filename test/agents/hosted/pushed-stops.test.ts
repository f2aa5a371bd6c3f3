// A stop that is pushed ends a hosted run at once: it is denied, and what it had to go on from is kept.

import { Agent } from '@openai/agents'
import { ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import type { CrashPoint } from '../../../src/guard/crash-points.ts'
import { SERVER } from '../../fixtures/guard.ts'
import { done, gate, refundCall, toldIn } from '../helpers.ts'
import { hangingStream } from '../pushing.ts'
import { ann, boss, cashierWorld, decideAll, hostedWorld } from './world.ts'

const start = { agent: 'cashier', input: 'go', runId: 'run_1' }
const resume = { runId: 'run_1' }
const STOPPED = { status: 'denied', denial: { code: 'STOP_PUSHED', boundary: 'task' } }

type Script = Parameters<typeof cashierWorld>[0]

async function pushingWorld(
  script: Script,
  options: Parameters<typeof cashierWorld>[1] & { onReach?: (point: CrashPoint) => void } = {},
) {
  const { onReach, ...rest } = options
  return cashierWorld(script, { ...rest, guard: onReach === undefined ? {} : { atCrashPoint: onReach } })
}

/** A world with a refund on its way, until `pay` lets it through. */
async function payingWorld() {
  const paying = gate()
  const pay = gate()
  const world = await pushingWorld([[refundCall('c1')], done], { refund: { needsApproval: false } })
  world.bank.before = () => (paying.resolve(), pay.promise)
  const running = world.runs.start(ann, start)
  await paying.promise
  return { ...world, running, pay }
}

/** A world whose model is asked, and answers only when its request is aborted, or never. */
async function askedWorld(heeds: boolean) {
  const model = new ScriptedModel([done])
  const answer = model.getStreamedResponse.bind(model)
  const call = hangingStream(heeds)
  model.getStreamedResponse = (request) => {
    model.getStreamedResponse = answer
    return call.answer(request)
  }
  const agent = new Agent({ name: 'cashier', model })
  const world = await hostedWorld({ agents: () => [{ agent }] })
  const running = world.runs.start(ann, start)
  await call.sent
  return { ...world, running, call }
}

test('while the model answers: the run is denied at once, and goes on from there once it is allowed', async () => {
  const { runs, authority, running } = await askedWorld(true)
  authority.stopNow(SERVER)
  expect(await running).toMatchObject({ ...STOPPED, resumable: true })
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'denied', denial: { on_denied: 'stop' } })
  await expect(runs.resume(ann, resume)).rejects.toMatchObject({ code: 'RESUME_DENIED' })
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed', output: 'done' })
})

test('a model that heeds no signal: after 30 s the run is denied without it', async () => {
  const { runs, authority, running, fire } = await askedWorld(false)
  authority.stopNow(SERVER)
  expect(await runs.show(ann, 'run_1')).toMatchObject({ status: 'running' })
  fire(30_000)
  expect(await running).toMatchObject({ ...STOPPED, resumable: false })
})

test('who cancels what a stop is ending has cancelled it', async () => {
  const { runs, authority, running, fire } = await askedWorld(false)
  authority.stopNow(SERVER)
  const cancelling = runs.cancel(ann, 'run_1')
  await expect.poll(() => runs.show(ann, 'run_1')).toMatchObject({ cancelling: true })
  fire(30_000)
  expect(await running).toMatchObject({ status: 'cancelled' })
  expect(await cancelling).toMatchObject({ status: 'cancelled' })
})

test('a shutdown does not make a pause of what a stop has ended', async () => {
  const { guard, authority, running, pay } = await payingWorld()
  authority.stopNow(SERVER)
  const closing = guard.close({ graceMs: 0 })
  await expect.poll(() => guard.shutdownSignal.aborted).toBe(true)
  pay.resolve()
  expect(await running).toMatchObject(STOPPED)
  await closing
})

test('while an effect runs: it finishes, the run waits for it and is denied, and goes on behind it', async () => {
  const { runs, bank, model, authority, running, pay } = await payingWorld()
  let ended = false
  void running.finally(() => (ended = true))
  authority.stopNow(SERVER)
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(ended).toBe(false)
  pay.resolve()
  expect(await running).toMatchObject({ ...STOPPED, resumable: true })
  expect(bank.refunds).toMatchObject([{ signal: { aborted: false } }])
  expect((await runs.show(ann, 'run_1')).effects).toMatchObject([{ state: 'done', callId: 'c1' }])
  expect(model.calls).toHaveLength(1)
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(toldIn(model)['c1']).toBe('{"receipt":"r-1"}')
  expect(bank.invoices).toEqual(['INV-1'])
})

test('a run that waits for a person is not touched', async () => {
  const { runs, authority } = await pushingWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  authority.stopNow(SERVER)
  expect(await runs.show(ann, 'run_1')).toMatchObject({
    status: 'interrupted',
    approvals: [{ callId: 'c1' }],
  })
  authority.restore(SERVER)
  await decideAll(runs, 'run_1', true)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
})

test.each([
  { at: 'run.state_opened', answer: 'rejected' },
  { at: 'run.approvals_applied', answer: 'interrupted' },
] as const)(
  'a stop at $at of a resume: it stays paused, its approval too, and nothing runs',
  async ({ at, answer }) => {
    let stop: (() => void) | undefined
    const onReach = (point: CrashPoint) => (point === at ? stop?.() : undefined)
    const { runs, authority, bank, model } = await pushingWorld([[refundCall('c1')], done], { onReach })
    await runs.start(ann, start)
    await decideAll(runs, 'run_1', true)
    stop = () => void authority.stopNow(SERVER)
    const resumed = runs.resume(ann, resume)
    if (answer === 'rejected')
      await expect(resumed).rejects.toMatchObject({ code: 'RESUME_DENIED', denial: { code: 'STOP_PUSHED' } })
    else expect(await resumed).toMatchObject({ status: 'interrupted', denial: { code: 'STOP_PUSHED' } })
    expect(await runs.show(boss, 'run_1')).toMatchObject({
      status: 'interrupted',
      approvals: [{ callId: 'c1', state: 'approved' }],
    })
    expect([bank.refunds.length, model.calls.length]).toEqual([0, 1])
    stop = undefined
    authority.restore(SERVER)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
    expect(bank.invoices).toEqual(['INV-1'])
  },
)

test('a stop while an approved call is at work: it finishes, the run waits as before, and nothing is done again', async () => {
  const { runs, authority, bank, model } = await pushingWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  bank.before = () => void authority.stopNow(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({
    status: 'interrupted',
    denial: { code: 'STOP_PUSHED', boundary: 'resume' },
    resumable: true,
  })
  expect(bank.refunds).toMatchObject([{ invoiceId: 'INV-1', signal: { aborted: false } }])
  expect(model.calls).toHaveLength(1)
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})
