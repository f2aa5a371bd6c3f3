// Requests that the SDK sends to a model without passing the filter in which a run asks: each starts on a permit all the
// same, or is asked for anew.

import { Agent, run, Runner, type Model, type StreamEvent } from '@openai/agents'
import { functionCall, modelError, modelResponder, ScriptedModel } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardedTool, runAgent } from 'holdpoint'
import { SERVER, startedGuard } from '../fixtures/guard.ts'
import { hostedWorld, ann, boss } from './hosted/world.ts'
import { done, scripted } from './helpers.ts'

const retry = (policy: () => boolean | Promise<boolean> = () => true) => ({
  retry: { maxRetries: 2, policy, backoff: { initialDelayMs: 0 } },
})
const down = modelError(new Error('model down'))
const onEvent = () => undefined

describe.each([
  { streamed: false, options: {} },
  { streamed: true, options: { onEvent } },
])('what the SDK retries by itself (streamed: $streamed)', ({ options }) => {
  test('is asked for each time', async () => {
    const { guard, authority, lines } = await startedGuard()
    const { agent, model } = scripted([], [down, down, done], { modelSettings: retry() })
    expect(await runAgent(guard, agent, 'go', options)).toMatchObject({ status: 'completed' })
    expect(model.calls).toHaveLength(3)
    expect(authority.boundaries).toEqual(['startup', 'task', 'task', 'task'])
    expect(lines.filter(({ allowed }) => allowed === false)).toEqual([])
  })

  test('G1: is not sent after a stop, and the run ends as denied', async () => {
    const { guard, authority } = await startedGuard()
    const stopping = retry(() => (authority.stop(SERVER), true))
    const { agent, model } = scripted([], [down, done, done], { modelSettings: stopping })
    expect(await runAgent(guard, agent, 'go', options)).toMatchObject({
      status: 'denied',
      denial: { code: 'DEVICE_REVOKED', boundary: 'task' },
    })
    expect(model.calls).toHaveLength(1)
    // Denied once: what the policy retries still is not asked for again.
    expect(authority.boundaries).toEqual(['startup', 'task', 'task'])
  })

  test('of an inner agent is not sent after a stop either', async () => {
    const { guard, authority } = await startedGuard()
    const stopping = retry(() => (authority.stop(SERVER), true))
    const inner = scripted([], [down, done], { name: 'inner', modelSettings: stopping })
    const ask = functionCall('ask', { input: 'go' }, { callId: 'o1' })
    const outer = scripted([inner.agent.asTool({ toolName: 'ask' })], [[ask], done])
    expect(await runAgent(guard, outer.agent, 'go', options)).toMatchObject({ status: 'denied' })
    expect([inner, outer].map(({ model }) => model.calls.length)).toEqual([1, 1])
  })
})

describe.each([
  ['of the agent', (model: Model) => ({ agent: { model }, runner: new Runner() })],
  ['of the runner', (model: Model) => ({ agent: {}, runner: new Runner({ model }) })],
  [
    'that a provider gives by name',
    (model: Model) => ({
      agent: { model: 'a-name' },
      runner: new Runner({ modelProvider: { getModel: () => model } }),
    }),
  ],
  [
    'that a provider gives later',
    (model: Model) => ({ agent: {}, runner: new Runner({ modelProvider: { getModel: async () => model } }) }),
  ],
])('a model %s', (_from, make) => {
  test('sends nothing on its own after a stop', async () => {
    const { guard, authority } = await startedGuard()
    const model = new ScriptedModel([down, done])
    const { agent, runner } = make(model)
    const modelSettings = retry(() => (authority.stop(SERVER), true))
    const ended = await runAgent(guard, new Agent({ name: 'a', modelSettings, ...agent }), 'go', { runner })
    expect(ended).toMatchObject({ status: 'denied' })
    expect(model.calls).toHaveLength(1)
  })
})

type Request = Parameters<Model['getResponse']>[0]

/** A class with a private part, which is made of another model. */
class OwnModel implements Model {
  readonly #inner: Model
  constructor(inner: Model) {
    this.#inner = inner
  }
  getResponse(request: Request) {
    return this.#inner.getResponse(request)
  }
  getStreamedResponse(request: Request) {
    return this.#inner.getStreamedResponse(request)
  }
}

/** The same, whose stream is its own answer. */
class AnswerStream implements Model {
  readonly #inner: Model
  constructor(inner: Model) {
    this.#inner = inner
  }
  getResponse(request: Request) {
    return this.#inner.getResponse(request)
  }
  async *getStreamedResponse(request: Request): AsyncGenerator<StreamEvent> {
    const { output } = await this.getResponse(request)
    const usage = { requests: 1, inputTokens: 1, outputTokens: 1, totalTokens: 2 }
    yield { type: 'response_done', response: { id: 'r1', usage, output } } as StreamEvent
  }
}

test.each([
  { Made: OwnModel, options: {} },
  { Made: OwnModel, options: { onEvent } },
  { Made: AnswerStream, options: { onEvent } },
])(
  'one question for one request, also of a model that is made of another one ($Made.name, $options)',
  async ({ Made, options }) => {
    const { guard, authority } = await startedGuard()
    const inner = new ScriptedModel([done, done])
    // In use by itself too, so that it is gated as well.
    await runAgent(guard, new Agent({ name: 'other', model: inner }), 'go')
    const agent = new Agent({ name: 'a', model: new Made(inner) })
    expect(await runAgent(guard, agent, 'go', options)).toMatchObject({ status: 'completed', output: 'done' })
    expect(authority.boundaries).toEqual(['startup', 'task', 'task'])
  },
)

test('G1: what one agent of a run has asked for and not sent starts no request of another one after a stop', async () => {
  const { guard, authority } = await startedGuard()
  const inner = scripted([], [done], { name: 'inner' })
  // Trips while the model is being asked for: its request is not sent any more.
  const tripwire = {
    name: 'tripwire',
    execute: async () => ({ tripwireTriggered: true, outputInfo: undefined }),
  }
  inner.agent.inputGuardrails = [tripwire]
  const ask = functionCall('ask', { input: 'go' }, { callId: 'o1' })
  const modelSettings = retry(() => (authority.stop(SERVER), true))
  const outer = scripted([inner.agent.asTool({ toolName: 'ask' })], [[ask], down, done], { modelSettings })
  expect(await runAgent(guard, outer.agent, 'go')).toMatchObject({ status: 'denied' })
  expect(authority.boundaries).toEqual(['startup', 'task', 'task', 'task', 'task'])
  expect([inner, outer].map(({ model }) => model.calls.length)).toEqual([0, 2])
})

test('an own request of a tool to the model of its run is asked for, and one outside of sessions is not', async () => {
  const { guard, authority } = await startedGuard()
  const model = new ScriptedModel([[functionCall('think', {}, { callId: 'c1' })], done, done, done])
  const request = {
    input: 'go',
    modelSettings: {},
    tools: [],
    outputType: 'text',
    handoffs: [],
    tracing: false,
  } as const
  const think = guardedTool(guard.surface('tool-server'), {
    name: 'think',
    description: 'Think',
    parameters: z.object({}),
    effects: 'none',
    execute: async () => (await model.getResponse({ ...request, tools: [], handoffs: [] })).output.length,
  })
  const agent = new Agent({ name: 'a', model, tools: [think] })
  await runAgent(guard, agent, 'go')
  expect(authority.boundaries).toEqual(['startup', 'task', 'tool', 'task', 'task'])
  await run(agent, 'go')
  expect(authority.boundaries).toHaveLength(5)
})

test('who gives up gets its own reason, also from a request that nobody asked for', async () => {
  const { guard, authority } = await startedGuard()
  const controller = new AbortController()
  const model = new ScriptedModel([[functionCall('leave', {}, { callId: 'c1' })], done])
  const thrown: unknown[] = []
  const leave = guardedTool(guard.surface('tool-server'), {
    name: 'leave',
    description: 'Leave',
    parameters: z.object({}),
    effects: 'none',
    execute: async () => {
      controller.abort(new Error('left'))
      await model.getResponse({} as never).catch((error: unknown) => thrown.push(error))
    },
  })
  const agent = new Agent({ name: 'a', model, tools: [leave] })
  await expect(runAgent(guard, agent, 'go', { signal: controller.signal })).rejects.toThrow('left')
  expect(thrown).toEqual([new Error('left')])
  expect(model.calls).toHaveLength(1)
  expect(authority.boundaries).toEqual(['startup', 'task', 'tool'])
})

test('a request that was asked for anew goes on under its own allow: no older stop ends it, and a newer one does', async () => {
  const { guard, authority } = await startedGuard()
  const older = { epoch: 0 }
  const restored = retry(() => {
    authority.stop(SERVER)
    older.epoch = authority.epoch
    authority.restore(SERVER)
    return true
  })
  const aborted: boolean[] = []
  const hanging = modelResponder(({ request: { signal } }) => {
    authority.stream?.push(older.epoch, [SERVER])
    aborted.push(signal?.aborted === true)
    authority.stopNow(SERVER)
    aborted.push(signal?.aborted === true)
    throw signal?.reason
  })
  const { agent, model } = scripted([], [down, hanging, done], { modelSettings: restored })
  const ended = await runAgent(guard, agent, 'go')
  expect(ended).toMatchObject({ status: 'denied', denial: { code: 'STOP_PUSHED' } })
  expect(aborted).toEqual([false, true])
  expect(model.calls).toHaveLength(2)
})

test.each([
  ['model', new Agent({ name: 'a', model: Object.freeze(new ScriptedModel([done])) }), new Runner()],
  [
    'model that a provider gives',
    new Agent({ name: 'a' }),
    new Runner({ modelProvider: { getModel: () => Object.freeze(new ScriptedModel([done])) } }),
  ],
  [
    'model provider',
    new Agent({ name: 'a' }),
    new Runner({ modelProvider: Object.freeze({ getModel: () => new ScriptedModel([done]) }) }),
  ],
  [
    'model behind a proxy that keeps its own methods',
    new Agent({
      name: 'a',
      model: new Proxy(new ScriptedModel([done]), {
        get: (target, name) => {
          const value = Reflect.get(target, name) as unknown
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      }),
    }),
    new Runner(),
  ],
])('a frozen %s is refused, with the next step', async (_what, agent, runner) => {
  const { guard } = await startedGuard()
  await expect(runAgent(guard, agent, 'go', { runner })).rejects.toMatchObject({
    code: 'GUARD_MISCONFIGURED',
    message: expect.stringMatching(/cannot be gated.*Leave it open/),
  })
})

test('a hosted run that was cancelled elsewhere sends no retry, and asks nobody for it', async () => {
  const cancelled = { elsewhere: async () => {} }
  const modelSettings = retry(async () => {
    await cancelled.elsewhere()
    return true
  })
  const made = scripted([], [down, done], { name: 'cashier', modelSettings })
  const world = await hostedWorld({ agents: () => [{ agent: made.agent }] })
  const replica = world.replica([{ agent: made.agent }])
  cancelled.elsewhere = async () => void (await replica.cancel(boss, 'run_1'))
  expect(await world.runs.start(ann, { agent: 'cashier', input: 'go', runId: 'run_1' })).toMatchObject({
    status: 'cancelled',
  })
  expect(made.model.calls).toHaveLength(1)
  expect(world.authority.boundaries).toEqual(['startup', 'task'])
})
