// A stop that is pushed ends a hosted run at once: it is denied, and what it had to go on from is kept.

import { Agent, tool } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent } from 'holdpoint'
import type { RunView } from '../../../src/agents/hosted/run-types.ts'
import type { CrashPoint } from '../../../src/guard/crash-points.ts'
import { SERVER } from '../../fixtures/guard.ts'
import type { ScriptedAuthority } from '../../fixtures/scripted-authority.ts'
import { done, gate, refundCall, scripted, toldIn } from '../helpers.ts'
import { hangingStream } from '../pushing.ts'
import { ann, boss, cashierWorld, decideAll, hostedWorld, type World } from './world.ts'

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
async function payingWorld({ onPicked }: { onPicked?: (authority: ScriptedAuthority) => void } = {}) {
  const paying = gate()
  const pay = gate()
  const world = await pushingWorld([[refundCall('c1')], done], {
    refund: { needsApproval: false },
    onReach: (point) => (point === 'run.picked' ? onPicked?.(world.authority) : undefined),
  })
  world.bank.before = () => (paying.resolve(), pay.promise)
  const running = onPicked === undefined ? world.runs.start(ann, start) : fromQueue(world)
  await paying.promise
  return { ...world, running, pay }
}

/** A world whose model is asked, and answers only when its request is aborted, or never. */
async function askedWorld(heeds: boolean, { background = false } = {}) {
  const model = new ScriptedModel([done])
  const answer = model.getStreamedResponse.bind(model)
  const call = hangingStream(heeds)
  model.getStreamedResponse = (request) => {
    model.getStreamedResponse = answer
    return call.answer(request)
  }
  const agent = new Agent({ name: 'cashier', model })
  const world = await hostedWorld({ agents: () => [{ agent }] })
  const running = background ? fromQueue(world) : world.runs.start(ann, start)
  await call.sent
  return { ...world, running, call }
}

/** The run goes through the queue, to its next pause or end. */
async function fromQueue({ runs }: Pick<World, 'runs'>): Promise<RunView> {
  await runs.start(ann, { ...start, background: true })
  runs.begin()
  return runs.follow(boss, 'run_1', () => {}, new AbortController().signal)
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

describe('a run out of the queue', () => {
  test('is denied while its model answers, and not paused as by a shutdown; it is no call in flight itself', async () => {
    const { runs, guard, authority, running } = await askedWorld(true, { background: true })
    expect(guard.presence().devices).toContainEqual({ deviceId: SERVER, inFlight: 0 })
    const epoch = authority.stopNow(SERVER)
    expect(authority.stream?.told).toEqual([`received ${epoch}: 0 running`, `settled ${epoch}: `])
    expect(await running).toMatchObject({ ...STOPPED, resumable: true })
    authority.restore(SERVER)
    expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed', output: 'done' })
  })

  test('G6: goes on when a stop comes late, from before it was allowed anew', async () => {
    const { authority, running, pay } = await payingWorld({
      onPicked: (one) => {
        one.stop(SERVER)
        one.restore(SERVER)
      },
    })
    authority.stream?.push(authority.epoch - 1, [SERVER])
    pay.resolve()
    expect(await running).toMatchObject({ status: 'completed' })
  })

  test('is denied, too, when the stop comes before it asks for its model', async () => {
    let stop: (() => void) | undefined
    const world = await pushingWorld([done], {
      onReach: (point) => (point === 'run.picked' ? stop?.() : undefined),
    })
    stop = () => void world.authority.stopNow(SERVER)
    expect(await fromQueue(world)).toMatchObject({ ...STOPPED, resumable: true })
    expect(world.model.calls).toHaveLength(0)
    stop = undefined
    world.authority.restore(SERVER)
    expect(await world.runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  })
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

test('an approved call that does not end: after 30 s the run waits as before, without it, and nothing is done again', async () => {
  const { runs, authority, bank, fire } = await pushingWorld([[refundCall('c1')], done])
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  const paying = gate()
  const pay = gate()
  bank.before = () => (paying.resolve(), pay.promise)
  const resuming = runs.resume(ann, resume)
  await paying.promise
  authority.stopNow(SERVER)
  fire(30_000)
  expect(await resuming).toMatchObject({
    status: 'interrupted',
    denial: { code: 'STOP_PUSHED' },
    resumable: true,
  })
  expect((await runs.show(ann, 'run_1')).effects).toMatchObject([{ callId: 'c1' }])
  pay.resolve()
  await expect.poll(async () => (await runs.show(ann, 'run_1')).effects).toMatchObject([{ state: 'done' }])
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('a stop right behind an approved call: what it gave is kept, also where no journal knows it', async () => {
  const acts: string[] = []
  let script: ReturnType<typeof scripted> | undefined
  const { runs, authority } = await hostedWorld({
    agents: (guard) => {
      const foreign = tool({
        name: 'foreign',
        description: 'Somebody else wrote it',
        parameters: z.object({}),
        needsApproval: true,
        execute: () => `act ${acts.push('done')}`,
      })
      script = scripted([foreign], [[functionCall('foreign', {}, { callId: 'c1' })], done], {
        name: 'cashier',
      })
      guardAgent(script.agent, guard.surface('email'))
      return [{ agent: script.agent }]
    },
  })
  await runs.start(ann, start)
  await decideAll(runs, 'run_1', true)
  authority.beforeAnswer = ({ boundary }) => void (boundary === 'task' && authority.stopNow(SERVER))
  expect(await runs.resume(ann, resume)).toMatchObject({
    status: 'interrupted',
    denial: { code: 'STOP_PUSHED' },
  })
  authority.beforeAnswer = () => {}
  authority.restore(SERVER)
  expect(await runs.resume(ann, resume)).toMatchObject({ status: 'completed' })
  expect(acts).toHaveLength(1)
  expect(script && toldIn(script.model)['c1']).toBe('act 1')
})
