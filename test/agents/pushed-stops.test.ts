// A stop that is pushed ends what runs at once, not at its next boundary (DESIGN 8).

import { run, shellTool, tool } from '@openai/agents'
import { functionCall, modelResponder } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Answer } from '../../src/guard/authority.ts'
import {
  guardAgent,
  guardedTool,
  guardTool,
  resumeAgent,
  runAgent,
  serializeState,
  type Guard,
} from 'holdpoint'
import { PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'
import { shellCall } from './action-tools.ts'
import { Bank, done, gate, refundCall, refundTool, scripted } from './helpers.ts'
import { hangingCall } from './pushing.ts'

const STOPPED = { status: 'denied', denial: { code: 'STOP_PUSHED', boundary: 'task', on_denied: 'stop' } }

/** Reads until it is aborted. */
function waitTool(guard: Guard) {
  const started = gate()
  const aborted: unknown[] = []
  const waiting = guardedTool(guard.surface('email'), {
    name: 'wait',
    description: 'Wait',
    parameters: z.object({}),
    effects: 'none',
    execute: (_args, { signal }) => {
      started.resolve()
      return new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve(aborted.push(signal.reason))),
      )
    },
  })
  return { waiting, started: started.promise, aborted }
}

const waitCall = functionCall('wait', {}, { callId: 'w1' })

describe.each([{ streamed: false }, { streamed: true }])('streamed: $streamed', ({ streamed }) => {
  const onEvent = streamed ? () => undefined : undefined

  test.each([
    { what: 'the server device', deviceIds: [SERVER] },
    { what: 'the whole org', deviceIds: undefined },
  ])(
    'a model call on its way is aborted by a stop of $what, and the run is denied',
    async ({ deviceIds }) => {
      const { guard, authority, lines } = await startedGuard()
      const call = hangingCall()
      const { agent, model } = scripted([], [call.step, done])
      const running = runAgent(guard, agent, 'go', { runId: 'run_1', onEvent })
      await call.sent
      authority.stop(SERVER)
      authority.stream?.push(authority.epoch, deviceIds)
      expect(await running).toMatchObject({ ...STOPPED, output: undefined, approvals: [] })
      expect(call.aborted.by).toMatchObject({ name: 'GuardDeniedError', code: 'STOP_PUSHED' })
      expect(model.calls).toHaveLength(1)
      expect(lines.filter(({ code }) => code === 'STOP_PUSHED')).toMatchObject([
        { boundary: 'task', run_id: 'run_1', allowed: false, device_id: SERVER },
      ])
    },
  )

  test('the surface of the session counts, another surface does not', async () => {
    const { guard, authority } = await startedGuard()
    const call = hangingCall()
    const { agent } = scripted([], [call.step])
    let ended = false
    const surface = guard.surface('payments')
    const running = runAgent(guard, agent, 'go', { surface, onEvent }).finally(() => (ended = true))
    await call.sent
    authority.stopNow('openai-agent:test:email:01')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(ended).toBe(false)
    authority.stopNow(PAYMENTS)
    expect(await running).toMatchObject(STOPPED)
  })

  test('an effect that has started finishes and is waited for, one that only reads is aborted, nothing follows', async () => {
    const { guard, authority } = await startedGuard()
    const bank = new Bank()
    const paying = gate()
    const pay = gate()
    bank.before = () => (paying.resolve(), pay.promise)
    const { waiting, started, aborted } = waitTool(guard)
    const tools = [refundTool(guard, bank), waiting]
    const { agent, model } = scripted(tools, [[refundCall('c1'), waitCall], done])
    let ended = false
    const running = runAgent(guard, agent, 'go', { onEvent }).finally(() => (ended = true))
    await Promise.all([paying.promise, started])
    authority.stopNow(SERVER)
    await expect.poll(() => aborted).toHaveLength(1)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect({ ended, paid: bank.invoices, signalled: bank.refunds[0]?.signal.aborted }).toEqual({
      ended: false,
      paid: [],
      signalled: undefined,
    })
    pay.resolve()
    expect(await running).toMatchObject(STOPPED)
    expect(bank.refunds).toMatchObject([{ invoiceId: 'INV-1', signal: { aborted: false } }])
    expect(model.calls).toHaveLength(1)
  })

  test('the model call of an agent that is a tool of another is aborted, and neither goes on', async () => {
    const { guard, authority } = await startedGuard()
    const call = hangingCall()
    const inner = scripted([], [call.step, done], { name: 'inner' })
    const askInner = functionCall('ask_inner', { input: 'go' }, { callId: 'o1' })
    const outer = scripted([inner.agent.asTool({ toolName: 'ask_inner' })], [[askInner], done])
    const running = runAgent(guard, outer.agent, 'go', { onEvent })
    await call.sent
    authority.stopNow(SERVER)
    expect(await running).toMatchObject(STOPPED)
    expect([inner.model.calls.length, outer.model.calls.length]).toEqual([1, 1])
    expect(call.aborted.by).toMatchObject({ code: 'STOP_PUSHED' })
  })

  test('a tool that aborts the run when it is denied does not make it reject: the stop came first', async () => {
    const { guard, authority } = await startedGuard()
    const bank = new Bank()
    authority.beforeAnswer = ({ boundary }) =>
      boundary === 'side_effect' ? void authority.stopNow(SERVER) : undefined
    const tools = [refundTool(guard, bank, { onDenied: 'abort' })]
    const { agent } = scripted(tools, [[refundCall('c1')], done])
    expect(await runAgent(guard, agent, 'go', { onEvent })).toMatchObject(STOPPED)
    expect(bank.refunds).toEqual([])
  })

  test('who gave up before the stop came gets its own reason', async () => {
    const { guard, authority } = await startedGuard()
    const controller = new AbortController()
    const call = hangingCall()
    const { agent } = scripted([], [call.step])
    const running = runAgent(guard, agent, 'go', { signal: controller.signal, onEvent })
    await call.sent
    controller.abort(new Error('left'))
    authority.stopNow(SERVER)
    await expect(running).rejects.toThrow('left')
  })

  test('a run that was denied by a tool of it before stays denied by that', async () => {
    const { guard, authority } = await startedGuard()
    authority.stop(PAYMENTS)
    const { waiting, aborted } = waitTool(guard)
    const tools = [refundTool(guard, new Bank(), { onDenied: 'stop' }), waiting]
    const { agent } = scripted(tools, [[refundCall('c1'), waitCall], done])
    const running = runAgent(guard, agent, 'go', { onEvent })
    await expect.poll(() => authority.boundaries.filter((one) => one === 'tool')).toHaveLength(2)
    await new Promise((resolve) => setTimeout(resolve, 10))
    authority.stopNow(SERVER)
    expect(await running).toMatchObject({ status: 'denied', denial: { code: 'DEVICE_REVOKED' } })
    expect(aborted).toHaveLength(1)
  })
})

test('a stop that is older than the allow of the last model call does nothing, however late it comes', async () => {
  const { guard, authority } = await startedGuard()
  const late = { epoch: 0 }
  const restored = modelResponder(() => {
    authority.stop(SERVER)
    late.epoch = authority.epoch
    authority.restore(SERVER)
    return [functionCall('read', {}, { callId: 'c1' })]
  })
  const told = modelResponder(() => {
    authority.stream?.push(late.epoch, [SERVER])
    authority.stream?.push(late.epoch, [SERVER])
    return done
  })
  const read = guardedTool(guard.surface('email'), {
    name: 'read',
    description: 'Read',
    parameters: z.object({}),
    effects: 'none',
    execute: () => 'text',
  })
  const { agent } = scripted([read], [restored, told])
  expect(await runAgent(guard, agent, 'go')).toMatchObject({ status: 'completed', output: 'done' })
})

test('an older answer that comes late, for a slower agent of the run, does not bring an older stop back', async () => {
  const { guard, authority } = await startedGuard()
  const slow = gate()
  const call = hangingCall()
  const inner = scripted([], [call.step], { name: 'inner' })
  const other = scripted([], [done], { name: 'other' })
  const tools = [inner, other].map(({ agent }) => agent.asTool({ toolName: `ask_${agent.name}` }))
  const ask = (name: string) => functionCall(`ask_${name}`, { input: 'go' }, { callId: name })
  const allowAt = (orgEpoch: number): Answer => ({
    answered: true,
    decisions: [{ deviceId: SERVER, allowed: true, epoch: orgEpoch }],
    requestId: `req-${orgEpoch}`,
    orgId: 'o_test',
    orgEpoch,
    sentAt: guard.clock.now(),
  })
  const both = modelResponder(() => {
    authority.next(() => slow.promise.then(() => allowAt(1)))
    authority.next(() => allowAt(3))
    return [ask('other'), ask('inner')]
  })
  const outer = scripted(tools, [both, done])
  let ended = false
  const running = runAgent(guard, outer.agent, 'go').finally(() => (ended = true))
  await call.sent
  slow.resolve()
  await expect.poll(() => other.model.calls).toHaveLength(1)
  authority.stream?.push(2, [SERVER])
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(ended).toBe(false)
  authority.epoch = 3
  authority.stopNow(SERVER)
  expect(await running).toMatchObject(STOPPED)
})

describe('what a stop does not count as in flight', () => {
  /** A function tool of somebody else, which heeds no signal and runs until `end`. */
  async function foreignAtWork(options: { readonly inRunAgent: boolean }) {
    const { guard, authority } = await startedGuard()
    const [started, end] = [gate(), gate()]
    let signal: AbortSignal | undefined
    const foreign = tool({
      name: 'foreign',
      description: 'x',
      parameters: z.object({}),
      execute: async (_args, _context, details) => {
        signal = details?.signal
        started.resolve()
        await end.promise
        return 'ran'
      },
    })
    const gated = guardTool(foreign, guard.surface('payments'))
    const { agent } = scripted([gated], [[functionCall('foreign', {}, { callId: 'c1' })], done])
    const running = options.inRunAgent ? runAgent(guard, agent, 'go') : run(agent, 'go')
    await started.promise
    const stop = (deviceId: string) => {
      const epoch = authority.stopNow(deviceId)
      const settledAtOnce = [`received ${epoch}: 0 running`, `settled ${epoch}: `]
      expect(authority.stream?.told.slice(-2)).toEqual(settledAtOnce)
      return { aborted: signal?.aborted }
    }
    return { stop, end: async () => (end.resolve(), running) }
  }

  test('a foreign function tool: a stop of its surface alone neither aborts it nor waits for it', async () => {
    const { stop, end } = await foreignAtWork({ inRunAgent: true })
    expect(stop(PAYMENTS)).toEqual({ aborted: false })
    expect(await end()).toMatchObject({ status: 'completed' })
  })

  test('a foreign function tool: a stop of what its run asks for aborts it, and does not wait for it', async () => {
    const { stop, end } = await foreignAtWork({ inRunAgent: true })
    expect(stop(SERVER)).toEqual({ aborted: true })
    expect(await end()).toMatchObject(STOPPED)
  })

  test('a foreign function tool outside of a session: nothing aborts it', async () => {
    const { stop, end } = await foreignAtWork({ inRunAgent: false })
    expect(stop(SERVER).aborted).not.toBe(true)
    await end()
  })

  test('a model call: it is aborted, and not waited for', async () => {
    const { guard, authority } = await startedGuard()
    const call = hangingCall()
    const { agent } = scripted([], [call.step])
    const running = runAgent(guard, agent, 'go')
    await call.sent
    const epoch = authority.stopNow(SERVER)
    expect(authority.stream?.told).toEqual([`received ${epoch}: 0 running`, `settled ${epoch}: `])
    expect(await running).toMatchObject(STOPPED)
  })

  test('a local shell is counted: its command runs in the permit itself', async () => {
    const { guard, authority } = await startedGuard()
    const [started, end] = [gate(), gate()]
    const shell = shellTool({
      shell: {
        run: async () => {
          started.resolve()
          await end.promise
          return { output: [{ stdout: 'ran', stderr: '', outcome: { type: 'exit', exitCode: 0 } }] }
        },
      },
    })
    const { agent } = scripted([shell], [[shellCall('c1', 'ls')], done])
    guardAgent(agent, guard.surface('payments'))
    const running = runAgent(guard, agent, 'go')
    await started.promise
    const epoch = authority.stopNow(PAYMENTS)
    expect(authority.stream?.told).toEqual([`received ${epoch}: 1 running`])
    end.resolve()
    await running
    expect(authority.stream?.told.at(-1)).toBe(`settled ${epoch}: finished`)
  })
})

test('a plain run has no session: its tools are stopped, it goes on', async () => {
  const { guard, authority } = await startedGuard()
  const { waiting, started, aborted } = waitTool(guard)
  const { agent, model } = scripted([waiting], [[waitCall], done])
  const running = run(agent, 'go')
  await started
  authority.stopNow(SERVER)
  expect((await running).finalOutput).toBe('done')
  expect(aborted).toHaveLength(1)
  expect(model.calls).toHaveLength(2)
})

async function pausedRun() {
  const made = await startedGuard()
  const bank = new Bank()
  const refund = refundTool(made.guard, bank, { needsApproval: true })
  const hooks = { whileModelAnswers: () => {} }
  const second = modelResponder(async () => {
    hooks.whileModelAnswers()
    await new Promise((resolve) => setTimeout(resolve, 10))
    return done
  })
  const { agent, model } = scripted([refund], [[refundCall('c1')], second])
  const ended = await runAgent(made.guard, agent, 'go', { runId: 'run_1' })
  if (ended.state === undefined) throw new Error('no state')
  const options = { runId: 'run_1', approvals: [{ callId: 'c1', approve: true }] } as const
  return { ...made, bank, agent, model, ended, text: serializeState(ended.state), options, hooks }
}

test('a paused run stays paused, and goes on once it is allowed again', async () => {
  const { guard, authority, agent, bank, ended, text, options, lines } = await pausedRun()
  expect(ended.status).toBe('interrupted')
  authority.stopNow(SERVER)
  expect(lines.filter(({ code }) => code === 'STOP_PUSHED')).toEqual([])
  expect(await resumeAgent(guard, agent, text, options)).toMatchObject({
    status: 'denied',
    denial: { boundary: 'resume', code: 'DEVICE_REVOKED' },
  })
  authority.restore(SERVER)
  expect(await resumeAgent(guard, agent, text, options)).toMatchObject({ status: 'completed' })
  expect(bank.invoices).toEqual(['INV-1'])
})

test('a stop that is pushed while a resumed run is read: nothing of it runs', async () => {
  const { guard, authority, agent, bank, model, text, options } = await pausedRun()
  const opened = tool({ name: 'other', description: 'x', parameters: z.object({}), execute: () => 'x' })
  // Reading a state asks whether each tool is enabled.
  opened.isEnabled = async () => {
    authority.stopNow(SERVER)
    return true
  }
  agent.tools.push(opened)
  expect(await resumeAgent(guard, agent, text, options)).toMatchObject({
    status: 'denied',
    denial: { code: 'STOP_PUSHED', boundary: 'resume' },
  })
  expect(bank.refunds).toEqual([])
  expect(model.calls).toHaveLength(1)
})

test('a stop that is pushed while decisions are applied: not even a tool without a gate runs', async () => {
  const { guard, authority } = await startedGuard()
  let stop = () => {}
  const ran: string[] = []
  const parameters = z.object({ text: z.string().refine(() => (stop(), true)) })
  const execute = ({ text }: { text: string }) => ran.push(text)
  const foreign = tool({ name: 'foreign', description: 'x', parameters, needsApproval: true, execute })
  const { agent } = scripted([foreign], [[functionCall('foreign', { text: 't' }, { callId: 'c1' })], done])
  const ended = await runAgent(guard, agent, 'go', { runId: 'run_1' })
  const text = ended.state === undefined ? '' : serializeState(ended.state)
  stop = () => void authority.stopNow(SERVER)
  const approvals = [{ callId: 'c1', approve: true }]
  expect(await resumeAgent(guard, agent, text, { runId: 'run_1', approvals })).toMatchObject({
    status: 'denied',
    denial: { code: 'STOP_PUSHED', boundary: 'resume' },
  })
  expect(ran).toEqual([])
})

test('a stop while the approved calls of a resumed run are at work: they finish, and it is denied', async () => {
  const { guard, authority, agent, bank, model, text, options } = await pausedRun()
  bank.before = () => void authority.stopNow(SERVER)
  expect(await resumeAgent(guard, agent, text, options)).toMatchObject({
    status: 'denied',
    denial: { code: 'STOP_PUSHED', boundary: 'resume' },
  })
  expect(bank.refunds).toMatchObject([{ invoiceId: 'INV-1', signal: { aborted: false } }])
  expect(model.calls).toHaveLength(1)
})

test('a late stop from before a restore does not end a run that was resumed before it and allowed since', async () => {
  const { guard, authority, agent, bank, text, options, hooks } = await pausedRun()
  const late = { epoch: 0 }
  bank.before = () => {
    authority.stop(SERVER)
    late.epoch = authority.epoch
    authority.restore(SERVER)
  }
  hooks.whileModelAnswers = () => authority.stream?.push(late.epoch, [SERVER])
  expect(await resumeAgent(guard, agent, text, options)).toMatchObject({ status: 'completed' })
  expect(late.epoch).toBe(2)
})
