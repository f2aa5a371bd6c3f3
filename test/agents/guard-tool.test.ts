import { setTimeout } from 'node:timers/promises'
import { Agent, run, tool, type MCPServer, type RunContext } from '@openai/agents'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardTool, runAgent } from 'holdpoint'
import { EMAIL, PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { Bank, done, refundTool, refusalIn, scripted, toldIn } from './helpers.ts'

function foreignTool(ran: string[], options: { name?: string; needsApproval?: boolean } = {}) {
  return tool({
    name: options.name ?? 'foreign',
    description: 'Made by somebody else',
    parameters: z.object({}),
    needsApproval: options.needsApproval ?? false,
    execute: () => {
      ran.push(options.name ?? 'foreign')
      return 'ran'
    },
  })
}

const call = (name = 'foreign', callId = 'c1') => functionCall(name, {}, { callId })

test('a foreign tool asks at tool, in place: its invoke and its own guardrails stay', async () => {
  const { guard, authority } = await startedGuard()
  const ran: string[] = []
  const foreign = foreignTool(ran)
  const { invoke } = foreign
  const own = {
    type: 'tool_input' as const,
    name: 'own',
    run: async () => ({ behavior: { type: 'allow' as const } }),
  }
  foreign.inputGuardrails = [own]
  expect(guardTool(foreign, guard.surface('payments'))).toBe(foreign)
  expect(foreign.invoke).toBe(invoke)
  expect(foreign.inputGuardrails).toHaveLength(2)
  expect(foreign.inputGuardrails[0]).toBe(own)
  const { agent, model } = scripted([foreign], [[call()], done])
  await run(agent, 'go')
  expect(ran).toEqual(['foreign'])
  expect(authority.questions.at(-1)).toMatchObject({ boundary: 'tool', tool: 'foreign', callId: 'c1' })
  expect(toldIn(model)).toEqual({ c1: 'ran' })
})

test('a foreign tool of a revoked surface does not run, and the model is told in the same words', async () => {
  const { guard, authority } = await startedGuard()
  const ran: string[] = []
  authority.stop(PAYMENTS)
  const { agent, model } = scripted(
    [guardTool(foreignTool(ran), guard.surface('payments'))],
    [[call()], done],
  )
  await run(agent, 'go')
  expect(ran).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({
    error: 'permission_denied',
    code: 'DEVICE_REVOKED',
    boundary: 'tool',
    device_id: PAYMENTS,
    executed: false,
    effects: [],
    on_denied: 'tell',
  })
})

test('G3: revoked while a slow guardrail of the tool itself runs: the foreign tool does not run', async () => {
  const { guard, authority } = await startedGuard()
  const ran: string[] = []
  const foreign = foreignTool(ran)
  foreign.inputGuardrails = [slowGuardrail(() => authority.stop(PAYMENTS))]
  const { agent, model } = scripted([guardTool(foreign, guard.surface('payments'))], [[call()], done])
  await run(agent, 'go')
  expect(ran).toEqual([])
  expect(refusalIn(model, 'c1')).toMatchObject({ code: 'DEVICE_REVOKED', boundary: 'tool', executed: false })
})

test('G3: gating again moves the gate behind guardrails that were added since, and adds none', async () => {
  const { guard, authority } = await startedGuard()
  const ran: string[] = []
  const foreign = guardTool(foreignTool(ran), guard.surface('payments'))
  const [gate] = foreign.inputGuardrails ?? []
  const slow = slowGuardrail(() => authority.stop(PAYMENTS))
  foreign.inputGuardrails = [...(foreign.inputGuardrails ?? []), slow]
  guardTool(foreign, guard.surface('payments'))
  expect(foreign.inputGuardrails).toEqual([slow, gate])
  const { agent } = scripted([foreign], [[call()], done])
  await run(agent, 'go')
  expect(ran).toEqual([])
})

/** A check of the tool's own that takes 600 ms; `during` happens in the middle of it. */
function slowGuardrail(during: () => void) {
  return {
    type: 'tool_input' as const,
    name: 'slow',
    run: async () => {
      await setTimeout(300)
      during()
      await setTimeout(300)
      return { behavior: { type: 'allow' as const } }
    },
  }
}

test('gating twice changes nothing, and a guarded tool needs no gate', async () => {
  const { guard, authority } = await startedGuard()
  const foreign = foreignTool([])
  const refund = refundTool(guard, new Bank())
  for (const surface of ['payments', 'email', 'payments']) {
    guardTool(foreign, guard.surface('payments'))
    guardTool(refund, guard.surface(surface))
  }
  expect(foreign.inputGuardrails).toHaveLength(1)
  expect(refund.inputGuardrails).toHaveLength(1)
  const { agent } = scripted([foreign], [[call()], done])
  await run(agent, 'go')
  expect(authority.boundaries).toEqual(['startup', 'tool'])
})

test('an approval inside a gated agent tool still resumes, and each start of it asks', async () => {
  const { guard, authority } = await startedGuard()
  const ran: string[] = []
  const inner = scripted([foreignTool(ran, { needsApproval: true })], [[call('foreign', 'i1')], done], {
    name: 'inner',
  })
  const agentTool = guardTool(inner.agent.asTool({ toolName: 'ask_inner' }), guard.surface('email'))
  const model = new ScriptedModel([[functionCall('ask_inner', { input: 'go' }, { callId: 'o1' })], done])
  const outer = new Agent({ name: 'outer', model, tools: [agentTool] })
  const paused = await run(outer, 'go')
  expect(paused.interruptions.map(({ name }) => name)).toEqual(['foreign'])
  paused.state.approve(paused.interruptions[0] as never)
  expect((await run(outer, paused.state)).finalOutput).toBe('done')
  expect(ran).toEqual(['foreign'])
  expect(authority.boundaries).toEqual(['startup', 'tool', 'tool'])
})

test('a gated agent tool of a revoked surface does not start its agent', async () => {
  const { guard, authority } = await startedGuard()
  const inner = scripted([], [done], { name: 'inner' })
  authority.stop(EMAIL)
  const agentTool = guardTool(inner.agent.asTool({ toolName: 'ask_inner' }), guard.surface('email'))
  const { agent, model } = scripted(
    [agentTool],
    [[functionCall('ask_inner', { input: 'x' }, { callId: 'o1' })], done],
  )
  await run(agent, 'go')
  expect(inner.model.calls).toHaveLength(0)
  expect(refusalIn(model, 'o1').code).toBe('DEVICE_REVOKED')
})

/** A plain object is an MCP server to the SDK. */
function mcpServer(called: string[]) {
  const server = {
    name: 'files',
    cacheToolsList: false,
    connect: async () => {},
    close: async () => {},
    invalidateToolsCache: async () => {},
    listTools: async () =>
      ['read_file', 'delete_file'].map((name) => ({
        name,
        description: name,
        inputSchema: {
          type: 'object' as const,
          properties: {},
          required: [],
          additionalProperties: false as const,
        },
      })),
    callTool: async (name: string) => {
      called.push(name)
      return [{ type: 'text', text: `${name} ok` }]
    },
  }
  return server as unknown as MCPServer
}

test('guardAgent gates function tools, MCP servers and the agents of handoffs, each once, in place', async () => {
  const { guard, authority } = await startedGuard()
  const ran: string[] = []
  const called: string[] = []
  const server = mcpServer(called)
  const shared = foreignTool(ran, { name: 'shared' })
  const second = scripted([shared, foreignTool(ran, { name: 'second' })], [[call('second', 'c3')], done], {
    name: 'second',
  })
  const script = [[call('shared', 'c1'), call('delete_file', 'c2'), call('transfer_to_second', 'h1')]]
  const first = scripted([shared], script, { name: 'first', mcpServers: [server], handoffs: [second.agent] })
  const third = scripted([foreignTool(ran, { name: 'third' })], [], { name: 'third' })
  second.agent.handoffs = [third.agent, first.agent, second.agent]
  const tools = [...first.agent.tools]
  const surfaceOf = (name: string) => guard.surface(name === 'delete_file' ? 'email' : 'payments')
  guardAgent(first.agent, surfaceOf)
  guardAgent(first.agent, surfaceOf)
  expect(first.agent.tools).toEqual(tools)
  expect(
    [shared, ...third.agent.tools].map((one) => 'inputGuardrails' in one && one.inputGuardrails?.length),
  ).toEqual([1, 1])
  expect(server.toolInputGuardrails).toHaveLength(1)

  authority.stop(EMAIL)
  await run(first.agent, 'go')
  expect(ran).toEqual(['shared', 'second'])
  expect(called).toEqual([])
  expect(refusalIn(second.model, 'c2')).toMatchObject({ code: 'DEVICE_REVOKED', device_id: EMAIL })
  expect(authority.questions.slice(1).map(({ tool: name }) => name)).toEqual([
    'shared',
    'delete_file',
    'second',
  ])
})

test('an MCP tool on an undeclared surface does not run', async () => {
  const { guard } = await startedGuard()
  const called: string[] = []
  const { agent } = scripted([], [[call('read_file')], done], { mcpServers: [mcpServer(called)] })
  guardAgent(agent, (name) => guard.surface(`mcp-${name}`))
  await run(agent, 'go').catch(() => undefined)
  expect(called).toEqual([])
})

test('a gated foreign tool in a session carries the run id and the signal of the run', async () => {
  const { guard, authority } = await startedGuard()
  const { agent } = scripted([guardTool(foreignTool([]), guard.surface('payments'))], [[call()], done])
  await runAgent(guard, agent, 'go', { runId: 'run_7' })
  const asked = authority.questions.find(({ boundary }) => boundary === 'tool')
  expect(asked).toMatchObject({ runId: 'run_7', callId: 'c1' })
  expect(asked?.signal).toBeInstanceOf(AbortSignal)
})

test('isEnabled and context of a foreign tool are untouched', async () => {
  const { guard } = await startedGuard()
  const seen: unknown[] = []
  const foreign = tool({
    name: 'foreign',
    description: 'x',
    parameters: z.object({}),
    isEnabled: ({ runContext }: { runContext: RunContext<unknown> }) => {
      seen.push(runContext.context)
      return true
    },
    execute: (_args, runContext) => void seen.push(runContext?.context),
  })
  const context = { tenant: 'acme' }
  const { agent } = scripted([guardTool(foreign, guard.surface('payments'))], [[call()], done])
  await run(agent, 'go', { context })
  expect(seen.every((one) => one === context)).toBe(true)
})
