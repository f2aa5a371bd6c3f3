import {
  Agent,
  MaxTurnsExceededError,
  run,
  Runner,
  type ModelInputData,
  type RunStreamEvent,
} from '@openai/agents'
import { functionCall, modelError, modelResponder, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool, runAgent, type Guard } from 'holdpoint'
import { PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, gate, refundCall, refundTool, scripted, toldIn } from './helpers.ts'

test('every model call asks at task for the server device, under the id of the run', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const { agent } = scripted([refundTool(guard, bank)], [[refundCall('c1')], done])
  const ended = await runAgent(guard, agent, 'go', { runId: 'run_1' })
  expect(ended).toMatchObject({ runId: 'run_1', status: 'completed', output: 'done', approvals: [] })
  expect(authority.boundaries).toEqual(['startup', 'task', 'tool', 'side_effect', 'task'])
  expect(authority.questions.slice(1).map(({ runId }) => runId)).toEqual(Array(4).fill('run_1'))
  expect(authority.questions[1]?.deviceIds).toEqual([SERVER])
})

test('a run without an id gets a fresh one, and task can ask for another surface', async () => {
  const { guard, authority } = await startedGuard()
  const { agent } = scripted([], [done])
  const ended = await runAgent(guard, agent, 'go', { surface: guard.surface('payments') })
  expect(ended.runId).toMatch(/^run_[0-9a-f-]{36}$/)
  expect(authority.questions[1]?.deviceIds).toEqual([SERVER, PAYMENTS])
})

test('denied at task: the request does not leave, and the run ends as denied', async () => {
  const { guard, authority } = await startedGuard()
  authority.stop(SERVER)
  const { agent, model } = scripted([], [done])
  const ended = await runAgent(guard, agent, 'go')
  expect(model.calls).toHaveLength(0)
  expect(ended).toMatchObject({
    status: 'denied',
    output: undefined,
    denial: { error: 'permission_denied', code: 'DEVICE_REVOKED', boundary: 'task', device_id: SERVER },
  })
})

test('stopped while a tool runs: the next model call does not leave', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  bank.before = () => authority.stop(SERVER)
  const { agent, model } = scripted([refundTool(guard, bank)], [[refundCall('c1')], done])
  const ended = await runAgent(guard, agent, 'go')
  expect(ended).toMatchObject({ status: 'denied', denial: { boundary: 'task' } })
  expect(model.calls).toHaveLength(1)
  expect(bank.refunds).toHaveLength(1)
})

test('the own callModelInputFilter still filters, and is asked before the question', async () => {
  const { guard, authority } = await startedGuard()
  const { agent, model } = scripted([], [done, done])
  const boundaries: string[][] = []
  const callModelInputFilter = ({ modelData }: { modelData: { input: never[]; instructions?: string } }) => {
    boundaries.push(authority.boundaries)
    return { ...modelData, instructions: 'be brief' }
  }
  await runAgent(guard, agent, 'go', { runOptions: { callModelInputFilter: callModelInputFilter as never } })
  await runAgent(guard, agent, 'go', {
    runner: new Runner({ callModelInputFilter: callModelInputFilter as never }),
  })
  expect(model.calls.map(({ request }) => request.systemInstructions)).toEqual(['be brief', 'be brief'])
  expect(boundaries).toEqual([['startup'], ['startup', 'task']])
})

test('a runner brings its configuration along', async () => {
  const { guard } = await startedGuard()
  const model = new ScriptedModel([done])
  const runner = new Runner({ modelProvider: { getModel: () => model }, tracingDisabled: true })
  expect((await runAgent(guard, new Agent({ name: 'a' }), 'go', { runner })).output).toBe('done')
})

const askInner = (callId = 'o1') => functionCall('ask_inner', { input: 'go' }, { callId })

function reader(guard: Guard) {
  return guardedTool(guard.surface('tool-server'), {
    name: 'read',
    description: 'Read',
    parameters: z.object({}),
    effects: 'none',
    execute: (_args, { runId }) => `in ${runId}`,
  })
}

test('the model calls of an inner agent ask at task too, each once, and its tools know the run', async () => {
  const { guard, authority } = await startedGuard()
  const inner = scripted([reader(guard)], [[functionCall('read', {}, { callId: 'i1' })], done], {
    name: 'inner',
  })
  const outer = scripted([inner.agent.asTool({ toolName: 'ask_inner' })], [[askInner()], done])
  const ended = await runAgent(guard, outer.agent, 'go', { runId: 'run_1' })
  expect(ended.status).toBe('completed')
  expect(toldIn(inner.model)).toEqual({ i1: 'in run_1' })
  expect(authority.boundaries).toEqual(['startup', 'task', 'task', 'tool', 'task', 'task'])
})

test('an inner agent without any tool asks too', async () => {
  const { guard, authority } = await startedGuard()
  const inner = scripted([], [done], { name: 'inner' })
  const outer = scripted([inner.agent.asTool({ toolName: 'ask_inner' })], [[askInner()], done])
  await runAgent(guard, outer.agent, 'go')
  expect(authority.boundaries).toEqual(['startup', 'task', 'task', 'task'])
})

test('an own filter of the inner agent does not replace the question', async () => {
  const { guard, authority } = await startedGuard()
  const inner = scripted([], [done], { name: 'inner' })
  const runConfig = { callModelInputFilter: ({ modelData }: { modelData: ModelInputData }) => modelData }
  const outer = scripted([inner.agent.asTool({ toolName: 'ask_inner', runConfig })], [[askInner()], done])
  authority.beforeAnswer = () => (authority.questions.length === 3 ? authority.stop(SERVER) : undefined)
  expect(await runAgent(guard, outer.agent, 'go')).toMatchObject({ status: 'denied' })
  expect(inner.model.calls).toHaveLength(0)
})

test('a run that a tool starts by itself belongs to the session', async () => {
  const { guard, authority } = await startedGuard()
  const inner = scripted([], [done], { name: 'inner' })
  const delegating = guardedTool(guard.surface('tool-server'), {
    name: 'delegate',
    description: 'Delegate',
    parameters: z.object({}),
    effects: 'none',
    execute: async () => (await run(inner.agent, 'go')).finalOutput,
  })
  const outer = scripted([delegating], [[functionCall('delegate', {}, { callId: 'c1' })], done])
  await runAgent(guard, outer.agent, 'go')
  expect(authority.boundaries).toEqual(['startup', 'task', 'tool', 'task', 'task'])
})

test('a run that a tool starts with a signal of its own still ends with the session', async () => {
  const { guard } = await startedGuard()
  const controller = new AbortController()
  const inner = new ScriptedModel([
    modelResponder(() => {
      controller.abort(new Error('left'))
      return done
    }),
    done,
  ])
  const innerAgent = new Agent({ name: 'inner', model: inner, tools: [reader(guard)] })
  const signals: boolean[] = []
  const delegating = guardedTool(guard.surface('tool-server'), {
    name: 'delegate',
    description: 'Delegate',
    parameters: z.object({}),
    effects: 'none',
    execute: async () => {
      await run(innerAgent, 'go', { signal: new AbortController().signal }).catch(() => signals.push(true))
    },
  })
  const outer = scripted([delegating], [[functionCall('delegate', {}, { callId: 'c1' })], done])
  await expect(runAgent(guard, outer.agent, 'go', { signal: controller.signal })).rejects.toThrow('left')
  expect(signals).toEqual([true])
})

test('a plain run is as it was: no question before its model calls, also after a session', async () => {
  const { guard, authority } = await startedGuard()
  const { agent } = scripted([], [done, done])
  await runAgent(guard, agent, 'go')
  await run(agent, 'go')
  expect(authority.boundaries).toEqual(['startup', 'task'])
})

test('denied at task in an inner agent: neither it nor the outer one makes a further model call', async () => {
  const { guard, authority } = await startedGuard()
  const inner = scripted([reader(guard)], [done], { name: 'inner' })
  const outer = scripted([inner.agent.asTool({ toolName: 'ask_inner' })], [[askInner()], done])
  authority.beforeAnswer = () => (authority.questions.length === 3 ? authority.stop(SERVER) : undefined)
  const ended = await runAgent(guard, outer.agent, 'go')
  expect(ended).toMatchObject({ status: 'denied', denial: { boundary: 'task' } })
  expect(inner.model.calls).toHaveLength(0)
  expect(outer.model.calls).toHaveLength(1)
})

test('onEvent streams every event of the SDK in order, and the run ends as it would otherwise', async () => {
  const { guard, authority } = await startedGuard()
  const events: RunStreamEvent[] = []
  const { agent, model } = scripted([refundTool(guard, new Bank())], [[refundCall('c1')], done])
  const ended = await runAgent(guard, agent, 'go', { onEvent: (event) => void events.push(event) })
  expect(ended).toMatchObject({ status: 'completed', output: 'done' })
  expect(model.calls.every(({ streamed }) => streamed)).toBe(true)
  const names = events.flatMap((event) => (event.type === 'run_item_stream_event' ? [event.name] : []))
  expect(names).toEqual(['tool_called', 'tool_output', 'message_output_created'])
  expect(authority.boundaries).toEqual(['startup', 'task', 'tool', 'side_effect', 'task'])
})

test('denied while streaming: the run ends as denied, with its state', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  bank.before = () => authority.stop(SERVER)
  const { agent } = scripted([refundTool(guard, bank)], [[refundCall('c1')], done])
  const ended = await runAgent(guard, agent, 'go', { onEvent: () => {} })
  expect(ended).toMatchObject({ status: 'denied', denial: { boundary: 'task' } })
  expect(ended.state?.history.at(-1)).toMatchObject({ type: 'function_call_result', callId: 'c1' })
})

test('an onEvent that throws ends the run with that error', async () => {
  const { guard } = await startedGuard()
  const { agent } = scripted([], [done])
  const onEvent = () => {
    throw new Error('client gone')
  }
  await expect(runAgent(guard, agent, 'go', { onEvent })).rejects.toThrow('client gone')
})

test('calls that wait for approval are listed with parsed arguments and their digest', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const { agent } = scripted(
    [refundTool(guard, bank, { needsApproval: true })],
    [[refundCall('c1'), refundCall('c2', 'INV-2')], done],
  )
  const ended = await runAgent(guard, agent, 'go')
  expect(ended.status).toBe('interrupted')
  expect(ended.approvals).toEqual([
    {
      callId: 'c1',
      tool: 'refund',
      arguments: { invoiceId: 'INV-1', refundNo: 1, amountCents: 500 },
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    },
    expect.objectContaining({ callId: 'c2' }),
  ])
  expect(ended.approvals[0]?.digest).not.toBe(ended.approvals[1]?.digest)
  expect(bank.refunds).toEqual([])
})

test('errors of the SDK reject as they are: a model error, and too many turns with its state', async () => {
  const { guard } = await startedGuard()
  const failing = scripted([], [modelError(new Error('model down'))])
  await expect(runAgent(guard, failing.agent, 'go')).rejects.toThrow('model down')
  const looping = scripted([reader(guard)], [[functionCall('read', {}, { callId: 'c1' })], done])
  const error = await runAgent(guard, looping.agent, 'go', { maxTurns: 1 }).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(MaxTurnsExceededError)
  expect((error as MaxTurnsExceededError).state).toBeDefined()
})

test.each([
  { boundary: 'task', streamed: false },
  { boundary: 'tool', streamed: false },
  { boundary: 'task', streamed: true },
  { boundary: 'tool', streamed: true },
])(
  'a caller that gives up while $boundary is asked gets its own reason, not a denial (streamed: $streamed)',
  async ({ boundary, streamed }) => {
    const { guard, authority } = await startedGuard()
    const controller = new AbortController()
    const bank = new Bank()
    authority.beforeAnswer = (question) =>
      question.boundary === boundary ? controller.abort(new Error('left')) : undefined
    const { agent } = scripted([refundTool(guard, bank, { onDenied: 'stop' })], [[refundCall('c1')], done])
    const onEvent = streamed ? () => undefined : undefined
    const running = runAgent(guard, agent, 'go', { signal: controller.signal, onEvent })
    await expect(running).rejects.toThrow('left')
    expect(bank.refunds).toEqual([])
  },
)

test('a shutdown aborts running agents, and waits for them', async () => {
  const { guard } = await startedGuard()
  const started = gate()
  const waiting = guardedTool(guard.surface('tool-server'), {
    name: 'wait',
    description: 'Wait',
    parameters: z.object({}),
    effects: 'none',
    execute: (_args, { signal }) => {
      started.resolve()
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve('stopped')))
    },
  })
  const { agent } = scripted([waiting], [[functionCall('wait', {}, { callId: 'c1' })], done])
  const running = runAgent(guard, agent, 'go').catch((error: unknown) => error)
  await started.promise
  expect(await guard.close()).toBe(true)
  expect(String(await running)).toContain('shutting down')
})

test('two runs of one agent at once keep their ids and denials apart', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  const read = reader(guard)
  const first = scripted([read, refundTool(guard, bank, { onDenied: 'stop' })], [])
  first.model.enqueue([refundCall('c1')], [functionCall('read', {}, { callId: 'c2' })], done)
  authority.stop(PAYMENTS)
  const [one, two] = await Promise.all([
    runAgent(guard, first.agent, 'go', { runId: 'run_a' }),
    runAgent(guard, first.agent, 'go', { runId: 'run_b' }),
  ])
  expect(one).toMatchObject({ runId: 'run_a', status: 'denied' })
  expect(two).toMatchObject({ runId: 'run_b', status: 'completed' })
  expect(toldIn(first.model)).toEqual({ c2: 'in run_b' })
})
