import { Agent, run, RunContext, tool, ToolCallError, type ToolUseBehavior } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { GuardDeniedError, guardedTool, guardedToolCore, guardTool, runAgent, type Guard } from 'holdpoint'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, refundCall, refundTool, refusalIn, scripted, toldIn } from './helpers.ts'

/** Writes on the server's own surface: not stopped when payments are. */
function noteTool(guard: Guard, notes: string[]) {
  return guardedTool(guard.surface('tool-server'), {
    name: 'note',
    description: 'Write a note',
    parameters: z.object({ text: z.string() }),
    effect: 'write',
    key: 'each-call',
    commit: async ({ text }) => {
      await new Promise((resolve) => setImmediate(resolve))
      notes.push(text)
      return `noted ${text}`
    },
  })
}

const noteCall = (callId: string, text = 'n') => functionCall('note', { text }, { callId })

async function stoppedPayments() {
  const made = await startedGuard()
  made.authority.stop(PAYMENTS)
  return { ...made, bank: new Bank(), notes: [] as string[] }
}

test('tell: the run goes on, and the model answers', async () => {
  const { guard, bank } = await stoppedPayments()
  const { agent, model } = scripted(
    [refundTool(guard, bank, { onDenied: 'tell' })],
    [[refundCall('c1')], done],
  )
  expect((await run(agent, 'go')).finalOutput).toBe('done')
  expect(refusalIn(model, 'c1').on_denied).toBe('tell')
})

test('stop in a plain run: no more model calls, the outputs of siblings are kept, the output says why', async () => {
  const { guard, bank, notes } = await stoppedPayments()
  const tools = [refundTool(guard, bank, { onDenied: 'stop' }), noteTool(guard, notes)]
  const { agent, model } = scripted(tools, [[noteCall('c1'), refundCall('c2'), noteCall('c3', 'm')], done])
  const result = await run(agent, 'go')
  expect(model.calls).toHaveLength(1)
  expect(notes).toEqual(['n', 'm'])
  expect(JSON.parse(result.finalOutput ?? '')).toMatchObject({ code: 'DEVICE_REVOKED', on_denied: 'stop' })
  const outputs = result.newItems.flatMap((item) =>
    item.type === 'tool_call_output_item' ? [item.output] : [],
  )
  expect(outputs).toEqual(['noted n', result.finalOutput, 'noted m'])
})

test('stop in a plain run that streams ends the stream', async () => {
  const { guard, bank } = await stoppedPayments()
  const { agent, model } = scripted(
    [refundTool(guard, bank, { onDenied: 'stop' })],
    [[refundCall('c1')], done],
  )
  const stream = await run(agent, 'go', { stream: true })
  for await (const _event of stream);
  await stream.completed
  expect(model.calls).toHaveLength(1)
  expect(JSON.parse(stream.finalOutput ?? '')).toMatchObject({ code: 'DEVICE_REVOKED' })
})

test('stop at the side_effect boundary ends the run too', async () => {
  const { guard, authority } = await startedGuard()
  const bank = new Bank()
  authority.beforeAnswer = ({ boundary }) =>
    boundary === 'side_effect' ? authority.stop(PAYMENTS) : undefined
  const { agent, model } = scripted(
    [refundTool(guard, bank, { onDenied: 'stop' })],
    [[refundCall('c1')], done],
  )
  const result = await run(agent, 'go')
  expect(model.calls).toHaveLength(1)
  expect(JSON.parse(result.finalOutput ?? '')).toMatchObject({ boundary: 'side_effect', executed: false })
})

test('stop ends only the run that was denied: the same agent runs on when it is restored', async () => {
  const { guard, authority, bank } = await stoppedPayments()
  const script = [[refundCall('c1')], [refundCall('c1')], done]
  const { agent, model } = scripted([refundTool(guard, bank, { onDenied: 'stop' })], script)
  const runContext = new RunContext({})
  await run(agent, 'go', { context: runContext })
  authority.restore(PAYMENTS)
  const result = await run(agent, 'go', { context: runContext })
  expect(result.finalOutput).toBe('done')
  expect(bank.refunds).toHaveLength(1)
  expect(model.calls).toHaveLength(3)
})

test.each<[string, ToolUseBehavior, string]>([
  ['run_llm_again', 'run_llm_again', 'done'],
  ['stop_on_first_tool', 'stop_on_first_tool', 'noted n'],
  ['stopAtToolNames', { stopAtToolNames: ['note'] }, 'noted n'],
  ['stopAtToolNames of another tool', { stopAtToolNames: ['other'] }, 'done'],
  [
    'a function',
    (_context, results) => ({
      isFinalOutput: true,
      isInterrupted: undefined,
      finalOutput: `own: ${results[0]?.type === 'function_output' ? String(results[0].output) : ''}`,
    }),
    'own: noted n',
  ],
])(
  'after a stop, in the next run the own toolUseBehavior decides: %s',
  async (_name, toolUseBehavior, output) => {
    const { guard, bank, notes } = await stoppedPayments()
    const tools = [refundTool(guard, bank, { onDenied: 'stop' }), noteTool(guard, notes)]
    const { agent } = scripted(tools, [[refundCall('c1')], [noteCall('c2')], done], { toolUseBehavior })
    expect(JSON.parse((await run(agent, 'go')).finalOutput ?? '')).toMatchObject({ code: 'DEVICE_REVOKED' })
    expect((await run(agent, 'go')).finalOutput).toBe(output)
  },
)

test('stop with a handoff in the same turn: the next agent with a guarded tool is not asked', async () => {
  const { guard, bank, notes } = await stoppedPayments()
  const next = scripted([noteTool(guard, notes)], [done], { name: 'next' })
  const handOff = functionCall('transfer_to_next', {}, { callId: 'c2' })
  const { agent } = scripted([refundTool(guard, bank, { onDenied: 'stop' })], [[refundCall('c1'), handOff]], {
    handoffs: [next.agent],
  })
  await expect(run(agent, 'go')).rejects.toThrow(GuardDeniedError)
  expect(next.model.calls).toHaveLength(0)
})

test('stop with a pending approval in the same turn: resumed, the run ends with the denial', async () => {
  const { guard, bank } = await stoppedPayments()
  const ask = guardedTool(guard.surface('tool-server'), {
    name: 'ask',
    description: 'x',
    parameters: z.object({}),
    needsApproval: true,
    effects: 'none',
    execute: () => 'ok',
  })
  const script = [[refundCall('c1'), functionCall('ask', {}, { callId: 'c2' })], done]
  const { agent, model } = scripted([refundTool(guard, bank, { onDenied: 'stop' }), ask], script)
  const result = await run(agent, 'go')
  expect(result.interruptions).toHaveLength(1)
  for (const item of result.interruptions) result.state.approve(item)
  await expect(run(agent, result.state)).rejects.toThrow(GuardDeniedError)
  expect(model.calls).toHaveLength(1)
})

test('stop of an agent with an outputType aborts a plain run: a refusal is no such output', async () => {
  const { guard, bank } = await stoppedPayments()
  const model = new ScriptedModel([[refundCall('c1')], done])
  const tools = [refundTool(guard, bank, { onDenied: 'stop' })]
  const agent = new Agent({ name: 'a', model, tools, outputType: z.object({ total: z.number() }) })
  const rejected = await run(agent, 'go').catch((error: unknown) => error)
  expect(rejected).toBeInstanceOf(ToolCallError)
  expect((rejected as ToolCallError).error).toMatchObject({ code: 'DEVICE_REVOKED' })
  expect(model.calls).toHaveLength(1)
})

test('stop of an agent with an outputType in runAgent ends as denied', async () => {
  const { guard, bank } = await stoppedPayments()
  const model = new ScriptedModel([[refundCall('c1')], done])
  const tools = [refundTool(guard, bank, { onDenied: 'stop' })]
  const agent = new Agent({ name: 'a', model, tools, outputType: z.object({ total: z.number() }) })
  const ended = await runAgent(guard, agent, 'go')
  expect(ended).toMatchObject({ status: 'denied', output: undefined, denial: { code: 'DEVICE_REVOKED' } })
  expect(model.calls).toHaveLength(1)
})

test('abort in a plain run rejects with a ToolCallError that holds the GuardDeniedError', async () => {
  const { guard, bank } = await stoppedPayments()
  const { agent, model } = scripted(
    [refundTool(guard, bank, { onDenied: 'abort' })],
    [[refundCall('c1')], done],
  )
  const rejected = await run(agent, 'go').catch((error: unknown) => error)
  expect(rejected).toBeInstanceOf(ToolCallError)
  expect((rejected as ToolCallError).error).toBeInstanceOf(GuardDeniedError)
  expect((rejected as ToolCallError).error).toMatchObject({
    code: 'DEVICE_REVOKED',
    body: { on_denied: 'abort' },
  })
  expect(model.calls).toHaveLength(1)
})

test('abort in a plain run that streams: iterator and completed reject', async () => {
  const { guard, bank } = await stoppedPayments()
  const { agent } = scripted([refundTool(guard, bank, { onDenied: 'abort' })], [[refundCall('c1')], done])
  const stream = await run(agent, 'go', { stream: true })
  const iterate = async () => {
    for await (const _event of stream);
  }
  await expect(iterate()).rejects.toThrow(ToolCallError)
  await expect(stream.completed).rejects.toThrow(ToolCallError)
})

test('abort in runAgent rejects with the GuardDeniedError itself, and reaches the siblings', async () => {
  const { guard, bank } = await stoppedPayments()
  const signals: AbortSignal[] = []
  const slow = guardedTool(guard.surface('tool-server'), {
    name: 'slow',
    description: 'x',
    parameters: z.object({}),
    effects: 'none',
    execute: (_args, { signal }) => {
      signals.push(signal)
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve('gave up')))
    },
  })
  const tools = [refundTool(guard, bank, { onDenied: 'abort' }), slow]
  const { agent } = scripted(tools, [[functionCall('slow', {}, { callId: 'c1' }), refundCall('c2')], done])
  await expect(runAgent(guard, agent, 'go')).rejects.toThrow(GuardDeniedError)
  expect(signals.map(({ aborted }) => aborted)).toEqual([true])
})

test('only a refused permission stops or aborts: a failed tool and a conflict tell', async () => {
  const { guard } = await startedGuard()
  const bank = new Bank()
  const script = [[refundCall('c1', 'INV-1', 1)], [refundCall('c2', 'INV-1', 2)], done]
  const { agent, model } = scripted([refundTool(guard, bank, { onDenied: 'abort' })], script)
  expect((await run(agent, 'go')).finalOutput).toBe('done')
  expect(refusalIn(model, 'c2')).toMatchObject({ error: 'effect_key_conflict', on_denied: 'tell' })
})

test('where there is no run, stop and abort tell, and say on_denied', async () => {
  const { guard, bank } = await stoppedPayments()
  for (const onDenied of ['stop', 'abort'] as const) {
    const tool = refundTool(guard, bank, { onDenied })
    const args = { invoiceId: 'INV-1', amountCents: 1 }
    expect(await guardedToolCore(tool)?.call({ arguments: args, callId: 'c1' })).toMatchObject({
      body: { on_denied: onDenied },
    })
    const text = await tool.invoke(new RunContext(), JSON.stringify({ ...args, refundNo: 1 }))
    expect(JSON.parse(text)).toMatchObject({ code: 'DEVICE_REVOKED', on_denied: onDenied })
  }
})

/** An outer agent that uses the given inner one as a tool, and would go on after it. */
function outerOf(inner: Agent, tools: readonly unknown[] = []) {
  const ask = functionCall('ask_inner', { input: 'go' }, { callId: 'o1' })
  const { agent, model } = scripted(
    [inner.asTool({ toolName: 'ask_inner' }), ...tools],
    [[ask, noteCall('o2')], done],
    {
      name: 'outer',
    },
  )
  return { outer: agent, outerModel: model }
}

test('stop in an inner agent ends the whole runAgent as denied, with the outer siblings kept', async () => {
  const { guard, bank, notes } = await stoppedPayments()
  const inner = scripted([refundTool(guard, bank, { onDenied: 'stop' })], [[refundCall('i1')], done], {
    name: 'inner',
  })
  const { outer, outerModel } = outerOf(inner.agent, [noteTool(guard, notes)])
  const ended = await runAgent(guard, outer, 'go')
  expect(ended).toMatchObject({ status: 'denied', denial: { code: 'DEVICE_REVOKED', on_denied: 'stop' } })
  expect(inner.model.calls).toHaveLength(1)
  expect(outerModel.calls).toHaveLength(1)
  expect(notes).toEqual(['n'])
  const kept = ended.state?.history.filter((item) => item.type === 'function_call_result')
  expect(kept).toHaveLength(2)
})

test('abort in an inner agent rejects the whole runAgent, though the SDK swallows it there', async () => {
  const { guard, bank } = await stoppedPayments()
  const inner = scripted([refundTool(guard, bank, { onDenied: 'abort' })], [[refundCall('i1')], done], {
    name: 'inner',
  })
  const { outer, outerModel } = outerOf(inner.agent, [noteTool(guard, [])])
  await expect(runAgent(guard, outer, 'go')).rejects.toMatchObject({
    name: 'GuardDeniedError',
    code: 'DEVICE_REVOKED',
  })
  expect(outerModel.calls).toHaveLength(1)
})

test('abort in an inner agent reaches the siblings of the outer one', async () => {
  const { guard, bank } = await stoppedPayments()
  const inner = scripted([refundTool(guard, bank, { onDenied: 'abort' })], [[refundCall('i1')]], {
    name: 'inner',
  })
  const waiting = guardedTool(guard.surface('tool-server'), {
    name: 'wait',
    description: 'x',
    parameters: z.object({}),
    effects: 'none',
    execute: (_args, { signal }) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve('gave up'))),
  })
  const calls = [
    functionCall('ask_inner', { input: 'go' }, { callId: 'o1' }),
    functionCall('wait', {}, { callId: 'o2' }),
  ]
  const outer = scripted([inner.agent.asTool({ toolName: 'ask_inner' }), waiting], [calls, done], {
    name: 'outer',
  })
  await expect(runAgent(guard, outer.agent, 'go')).rejects.toThrow(GuardDeniedError)
})

test('stop with a handoff in the same turn of a runAgent: the next agent makes no model call, and asks nothing', async () => {
  const { guard, authority, bank } = await stoppedPayments()
  const next = scripted([], [done], { name: 'next' })
  const turn = [refundCall('c1'), functionCall('transfer_to_next', {}, { callId: 'c2' })]
  const { agent } = scripted([refundTool(guard, bank, { onDenied: 'stop' })], [turn], {
    handoffs: [next.agent],
  })
  expect(await runAgent(guard, agent, 'go')).toMatchObject({ status: 'denied', denial: { boundary: 'tool' } })
  expect(next.model.calls).toHaveLength(0)
  expect(authority.boundaries).toEqual(['startup', 'task', 'tool'])
})

test('stop in an inner agent of a plain run ends that agent; the outer model is told why', async () => {
  const { guard, bank } = await stoppedPayments()
  const inner = scripted([refundTool(guard, bank, { onDenied: 'stop' })], [[refundCall('i1')], done], {
    name: 'inner',
  })
  const { outer, outerModel } = outerOf(inner.agent, [noteTool(guard, [])])
  expect((await run(outer, 'go')).finalOutput).toBe('done')
  expect(inner.model.calls).toHaveLength(1)
  expect(JSON.parse(toldIn(outerModel)['o1'] ?? '')).toMatchObject({
    code: 'DEVICE_REVOKED',
    on_denied: 'stop',
  })
})

test('a foreign tool stops and aborts in the same way', async () => {
  const { guard, authority } = await startedGuard()
  authority.stop(PAYMENTS)
  const foreign = (onDenied: 'stop' | 'abort') => {
    const made = tool({ name: 'foreign', description: 'x', parameters: z.object({}), execute: () => 'ran' })
    return scripted(
      [guardTool(made, guard.surface('payments'), { onDenied })],
      [[functionCall('foreign', {}, { callId: 'c1' })], done],
    )
  }
  const stopped = foreign('stop')
  expect(JSON.parse((await run(stopped.agent, 'go')).finalOutput ?? '')).toMatchObject({
    code: 'DEVICE_REVOKED',
  })
  expect(stopped.model.calls).toHaveLength(1)
  const aborted = foreign('abort')
  await expect(run(aborted.agent, 'go')).rejects.toMatchObject({ error: expect.any(GuardDeniedError) })
})
