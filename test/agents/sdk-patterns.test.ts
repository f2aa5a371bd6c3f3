// The SDK's own patterns for a human in the loop (openai/openai-agents-js, examples/agent-patterns: human-in-the-loop,
// its streamed form, and an expense report that is approved later) with guarded tools in place of plain ones. Nothing
// else about them changes: the loops below are those of plain `run()`.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, run, RunState, Runner, tool, type RunToolApprovalItem } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardedTool, type Guard } from 'holdpoint'
import { PAYMENTS, SERVER, startedGuard } from '../fixtures/guard.ts'
import { refusalIn, toldIn } from './helpers.ts'

type Confirm = (interruption: RunToolApprovalItem) => boolean

/** One agent that asks about Oakland, and one behind a tool that asks about San Francisco. */
function weatherAgents(guard: Guard) {
  const ran: string[] = []
  const getWeather = guardedTool(guard.surface('email'), {
    name: 'get_weather',
    description: 'Get the weather of a city',
    parameters: z.object({ city: z.string() }),
    effects: 'none',
    execute: async ({ city }) => {
      ran.push(`weather ${city}`)
      return `The weather in ${city} is sunny`
    },
  })
  const getTemperature = guardedTool(guard.surface('payments'), {
    name: 'get_temperature',
    description: 'Get the temperature of a city',
    parameters: z.object({ city: z.string() }),
    needsApproval: async (_context, { city }) => city.includes('Oakland'),
    effects: 'none',
    execute: async ({ city }) => {
      ran.push(`temperature ${city}`)
      return `The temperature in ${city} is 20° Celsius`
    },
  })
  const weatherModel = new ScriptedModel([
    [functionCall('get_weather', { city: 'San Francisco' }, { callId: 'w1' })],
    [assistantMessage('Sunny.')],
  ])
  const weatherAgent = new Agent({ name: 'Weather agent', tools: [getWeather], model: weatherModel })
  const model = new ScriptedModel([
    [
      functionCall('get_temperature', { city: 'San Francisco' }, { callId: 't1' }),
      functionCall('get_temperature', { city: 'Oakland' }, { callId: 't2' }),
      functionCall('ask_weather_agent', { input: 'San Francisco' }, { callId: 'a1' }),
    ],
    [assistantMessage('Sunny and 20° Celsius.')],
  ])
  const agent = new Agent({
    name: 'Basic test agent',
    model,
    tools: [
      getTemperature,
      weatherAgent.asTool({
        toolName: 'ask_weather_agent',
        toolDescription: 'Ask the weather agent about a location',
        needsApproval: async (_context, { input }) => input.includes('San Francisco'),
      }),
    ],
  })
  return { agent, model, weatherModel, ran }
}

type Weather = ReturnType<typeof weatherAgents>['agent']

const QUESTION = 'What is the weather and temperature in San Francisco and Oakland?'

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'holdpoint-patterns-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** Pauses, stores the state in a file, reads it back, decides, goes on. */
async function stored(agent: Weather, confirm: Confirm, runner: Runner | undefined): Promise<unknown> {
  const file = join(folder(), 'result.json')
  const go = (input: string | RunState<unknown, Weather>) =>
    runner === undefined ? run(agent, input) : runner.run(agent, input)
  let result = await go(QUESTION)
  while (result.interruptions.length > 0) {
    writeFileSync(file, JSON.stringify(result.state, null, 2))
    const state = await RunState.fromString<unknown, Weather>(agent, readFileSync(file, 'utf8'))
    for (const interruption of result.interruptions) {
      if (confirm(interruption)) state.approve(interruption)
      else state.reject(interruption)
    }
    result = await go(state)
  }
  return result.finalOutput
}

/** Streams to the pause, decides on the live state, streams on. */
async function streamed(agent: Weather, confirm: Confirm, runner: Runner | undefined): Promise<unknown> {
  const go = (input: string | RunState<unknown, Weather>) =>
    runner === undefined ? run(agent, input, { stream: true }) : runner.run(agent, input, { stream: true })
  let stream = await go(QUESTION)
  for await (const _text of stream.toTextStream());
  await stream.completed
  while (stream.interruptions.length > 0) {
    const { state } = stream
    for (const interruption of stream.interruptions) {
      expect(interruption.rawItem.type).toBe('function_call')
      if (confirm(interruption)) state.approve(interruption)
      else state.reject(interruption)
    }
    stream = await go(state)
    for await (const _text of stream.toTextStream());
    await stream.completed
  }
  return stream.finalOutput
}

const ways = [
  { name: 'human-in-the-loop, run()', loop: stored, make: () => undefined },
  { name: 'human-in-the-loop, Runner', loop: stored, make: () => new Runner() },
  { name: 'human-in-the-loop-stream, run()', loop: streamed, make: () => undefined },
  { name: 'human-in-the-loop-stream, Runner', loop: streamed, make: () => new Runner() },
]

describe.each(ways)('$name', ({ loop, make }) => {
  test('approved: each tool runs exactly once, asked about by the very same prompts', async () => {
    const { guard, authority } = await startedGuard()
    const { agent, model, ran } = weatherAgents(guard)
    const prompts: string[] = []
    const confirm = ({ agent: who, name, arguments: args }: RunToolApprovalItem) => {
      prompts.push(`${who.name}: ${name} ${args}`)
      return true
    }
    expect(await loop(agent, confirm, make())).toBe('Sunny and 20° Celsius.')
    expect(prompts).toEqual([
      'Basic test agent: get_temperature {"city":"Oakland"}',
      'Basic test agent: ask_weather_agent {"input":"San Francisco"}',
    ])
    expect(ran.toSorted()).toEqual([
      'temperature Oakland',
      'temperature San Francisco',
      'weather San Francisco',
    ])
    expect(toldIn(model)).toEqual({
      t1: 'The temperature in San Francisco is 20° Celsius',
      t2: 'The temperature in Oakland is 20° Celsius',
      a1: 'Sunny.',
    })
    expect(authority.boundaries).toEqual(['startup', 'tool', 'tool', 'tool'])
  })

  test('rejected: the tools that wait do not run, and nobody is asked for them', async () => {
    const { guard, authority } = await startedGuard()
    const { agent, weatherModel, ran } = weatherAgents(guard)
    expect(await loop(agent, () => false, make())).toBe('Sunny and 20° Celsius.')
    expect(ran).toEqual(['temperature San Francisco'])
    expect(weatherModel.calls).toHaveLength(0)
    expect(authority.boundaries).toEqual(['startup', 'tool'])
  })

  test('revoked while a person decides: an approval is not a permit (G1)', async () => {
    const { guard, authority } = await startedGuard()
    const { agent, model, ran } = weatherAgents(guard)
    const confirm = () => {
      authority.stop(PAYMENTS)
      return true
    }
    await loop(agent, confirm, make())
    expect(ran).toEqual(['temperature San Francisco', 'weather San Francisco'])
    expect(refusalIn(model, 't2')).toMatchObject({ code: 'DEVICE_REVOKED', executed: false })
  })

  test('revoked while a person decides: the agent behind the tool cannot act either', async () => {
    const { guard, authority } = await startedGuard()
    const { agent, weatherModel, ran } = weatherAgents(guard)
    guardAgent(agent, guard.surface('tool-server'))
    const confirm = () => {
      authority.stop(SERVER)
      return true
    }
    await loop(agent, confirm, make())
    expect(ran).toEqual(['temperature San Francisco'])
    expect(weatherModel.calls).toHaveLength(0)
  })
})

describe.each(ways)('an approval inside the agent behind a tool, $name', ({ loop, make }) => {
  test.each([true, false])('approved: %s', async (approve) => {
    const { guard } = await startedGuard()
    const ran: string[] = []
    const refund = guardedTool(guard.surface('payments'), {
      name: 'refund',
      description: 'Refund one invoice',
      parameters: z.object({ invoiceId: z.string() }),
      needsApproval: true,
      effect: 'payment',
      key: ({ invoiceId }) => invoiceId,
      commit: async ({ invoiceId }) => {
        ran.push(invoiceId)
        return 'paid'
      },
    })
    const innerModel = new ScriptedModel([
      [functionCall('refund', { invoiceId: 'INV-1' }, { callId: 'r1' })],
      [assistantMessage('Refunded.')],
    ])
    const inner = new Agent({ name: 'Refund agent', tools: [refund], model: innerModel })
    const model = new ScriptedModel([
      [functionCall('ask_refund_agent', { input: 'INV-1' }, { callId: 'a1' })],
      [assistantMessage('It is done.')],
    ])
    const agent = new Agent({ name: 'Desk', model, tools: [inner.asTool({ toolName: 'ask_refund_agent' })] })
    const asked: string[] = []
    const confirm = ({ agent: who, name }: RunToolApprovalItem) => {
      asked.push(`${who.name}: ${name}`)
      return approve
    }
    expect(await loop(agent, confirm, make())).toBe('It is done.')
    expect(asked).toEqual(['Refund agent: refund'])
    expect(ran).toEqual(approve ? ['INV-1'] : [])
  })
})

describe('resumable-human-approval', () => {
  /** Two tools, the second of which a person approves above 100 USD, in another process. */
  function expenses(guard: Guard) {
    const submitted: number[] = []
    const report = z.object({ merchant: z.string(), amountUsd: z.number().positive() })
    const prepare = tool({
      name: 'prepare_expense_report',
      description: 'Prepare an expense report',
      parameters: report,
      execute: async (args) => ({ ...args, policyNote: 'Over $100 a manager decides.' }),
    })
    const submit = guardedTool(guard.surface('payments'), {
      name: 'submit_expense_report',
      description: 'Submit a prepared expense report',
      parameters: report,
      needsApproval: async (_context, { amountUsd }) => amountUsd > 100,
      effect: 'external_call',
      key: ({ merchant, amountUsd }) => `${merchant}:${amountUsd}`,
      commit: async ({ amountUsd }) => {
        submitted.push(amountUsd)
        return { confirmationId: 'exp_1', status: 'submitted' }
      },
    })
    const dinner = { merchant: 'Acme', amountUsd: 480 }
    const model = new ScriptedModel([
      [functionCall('prepare_expense_report', dinner, { callId: 'p1' })],
      [functionCall('submit_expense_report', dinner, { callId: 's1' })],
      [assistantMessage('Done.')],
    ])
    return { agent: new Agent({ name: 'Expenses', model, tools: [prepare, submit] }), model, submitted }
  }

  async function paused(guard: Guard) {
    const made = expenses(guard)
    const result = await run(made.agent, 'A $480 dinner with Acme')
    expect(result.interruptions.map(({ name }) => name)).toEqual(['submit_expense_report'])
    const text = JSON.stringify(result.state)
    const state = await RunState.fromString(made.agent, text)
    const [interruption] = state.getInterruptions()
    return { ...made, state, text, interruption: interruption as RunToolApprovalItem }
  }

  test('approved later: submitted once', async () => {
    const { guard } = await startedGuard()
    const { agent, state, interruption, submitted } = await paused(guard)
    state.approve(interruption)
    expect((await run(agent, state)).finalOutput).toBe('Done.')
    expect(submitted).toEqual([480])
  })

  test('rejected later: not submitted, and the model gets the words', async () => {
    const { guard } = await startedGuard()
    const { agent, model, state, interruption, submitted } = await paused(guard)
    state.reject(interruption, { message: 'The manager rejected it.' })
    await run(agent, state)
    expect(toldIn(model)['s1']).toBe('The manager rejected it.')
    expect(submitted).toEqual([])
  })

  test('the same stored state resumed twice submits once', async () => {
    const { guard } = await startedGuard()
    const { agent, model, text, submitted } = await paused(guard)
    model.enqueue([assistantMessage('Done again.')])
    for (let time = 0; time < 2; time += 1) {
      const state = await RunState.fromString(agent, text)
      for (const interruption of state.getInterruptions()) state.approve(interruption)
      await run(agent, state)
    }
    expect(submitted).toEqual([480])
    expect(JSON.parse(toldIn(model)['s1'] ?? 'null')).toMatchObject({ replayed: true })
  })
})
