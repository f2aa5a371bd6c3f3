import {
  Agent,
  applyPatchTool,
  codeInterpreterTool,
  computerTool,
  handoff,
  hostedMcpTool,
  run,
  Runner,
  shellTool,
  tool,
  toolNamespace,
  webSearchTool,
  type protocol,
  type AgentInputItem,
  type Computer,
  type Tool,
} from '@openai/agents'
import { SandboxAgent } from '@openai/agents/sandbox'
import { functionCall, ScriptedModel } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, GuardDeniedError, runAgent, type Guard, type OnDenied } from 'holdpoint'
import { EMAIL, PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import {
  clickCall,
  computerOf,
  CountingComputer,
  countingEditor,
  countingShell,
  patchCall,
  patchOf,
  shellCall,
  shellOf,
  type Ran,
} from './action-tools.ts'
import { done, refusalIn, scripted } from './helpers.ts'

type Script = ConstructorParameters<typeof ScriptedModel>[0]

/** An agent on a gated tool of the surface `payments`. */
function gated(guard: Guard, tools: Tool<unknown>[], script: Script, onDenied: OnDenied = 'tell') {
  const made = scripted(tools, script)
  guardAgent(made.agent, guard.surface('payments'), { onDenied })
  return made
}

function outputIn(model: ScriptedModel, type: string): Record<string, unknown> | undefined {
  const items = (model.calls.at(-1)?.request.input ?? []) as AgentInputItem[]
  return items.find((item) => item.type === type)
}

const create = { type: 'create_file', path: 'a.txt', diff: '+a' } as const

interface Kind {
  readonly kind: string
  readonly tool: (ran: Ran) => Tool<unknown>
  readonly call: Script extends Iterable<infer Step> | undefined ? Step : never
  readonly ran: string[]
}

const kinds: Kind[] = [
  { kind: 'shell', tool: shellOf, call: [shellCall('c1', 'ls', 'rm x')], ran: ['ls', 'rm x'] },
  { kind: 'apply_patch', tool: patchOf, call: [patchCall('c1', create)], ran: ['create_file a.txt'] },
  {
    kind: 'computer',
    tool: computerOf,
    call: [clickCall('c1')],
    ran: ['initRun', 'click 1,2', 'screenshot'],
  },
]

describe.each(kinds)('a $kind tool', ({ tool: make, call, ran: expected }) => {
  test('allowed: it runs exactly once, in a plain run, streamed and in a session', async () => {
    for (const way of ['plain', 'stream', 'session']) {
      const { guard, authority } = await startedGuard()
      const ran: Ran = []
      const { agent } = gated(guard, [make(ran)], [call, done])
      if (way === 'plain') await run(agent, 'go')
      if (way === 'stream') await (await run(agent, 'go', { stream: true })).completed
      if (way === 'session') await runAgent(guard, agent, 'go', { runId: 'run_1' })
      expect(ran).toEqual(expected)
      const asked = authority.questions.filter(({ callId }) => callId === 'c1')
      expect(asked.length).toBeGreaterThan(0)
      expect(asked[0]).toMatchObject({ boundary: 'tool', deviceIds: [expect.any(String), PAYMENTS] })
      expect(asked[0]?.runId).toBe(way === 'session' ? 'run_1' : undefined)
    }
  })

  test('gated twice it asks as often as gated once', async () => {
    const { guard, authority } = await startedGuard()
    const { agent } = gated(guard, [make([])], [call, done])
    guardAgent(agent, guard.surface('payments'))
    await run(agent, 'go')
    const once = await startedGuard()
    await run(gated(once.guard, [make([])], [call, done]).agent, 'go')
    expect(authority.questions.map(({ deviceIds }) => deviceIds)).toEqual(
      once.authority.questions.map(({ deviceIds }) => deviceIds),
    )
  })

  test.each(['stop', 'abort'] as const)(
    'denied with onDenied %s: nothing runs, and the run ends',
    async (onDenied) => {
      const { guard, authority } = await startedGuard()
      const ran: Ran = []
      const { agent, model } = gated(guard, [make(ran)], [call, done], onDenied)
      authority.beforeAnswer = ({ callId }) => void (callId === 'c1' && authority.stop(PAYMENTS))
      await expect(run(agent, 'go')).rejects.toMatchObject({ code: 'DEVICE_REVOKED' })
      expect(ran.filter((one) => one !== 'initRun')).toEqual([])
      expect(model.calls).toHaveLength(1)
    },
  )

  test('denied with onDenied stop in a session: the run ends as denied or rejects, before another model call', async () => {
    const { guard, authority } = await startedGuard()
    const ran: Ran = []
    const tool = make(ran)
    const { agent, model } = gated(guard, [tool], [call, done], 'stop')
    authority.beforeAnswer = ({ callId }) => void (callId === 'c1' && authority.stop(PAYMENTS))
    const ended = runAgent(guard, agent, 'go')
    if (tool.type === 'computer') await expect(ended).rejects.toBeInstanceOf(GuardDeniedError)
    else expect(await ended).toMatchObject({ status: 'denied', denial: { code: 'DEVICE_REVOKED' } })
    expect(ran.filter((one) => one !== 'initRun')).toEqual([])
    expect(model.calls).toHaveLength(1)
  })

  test('G4: no answer of the authority is a denial', async () => {
    const { guard, authority } = await startedGuard()
    const ran: Ran = []
    const { agent } = gated(guard, [make(ran)], [call, done], 'abort')
    authority.beforeAnswer = () => {
      throw new Error('gone')
    }
    await expect(run(agent, 'go')).rejects.toMatchObject({ body: { error: 'permission_check_unavailable' } })
    expect(ran).toEqual([])
  })
})

test('a denied shell: every command says so on its stderr and exits non-zero, and the run goes on', async () => {
  const { guard, authority } = await startedGuard()
  const ran: Ran = []
  const { agent, model } = gated(guard, [shellOf(ran)], [[shellCall('c1', 'ls', 'rm x')], done])
  authority.stop(PAYMENTS)
  expect((await run(agent, 'go')).finalOutput).toBe('done')
  expect(ran).toEqual([])
  const output = outputIn(model, 'shell_call_output')?.['output'] as { stdout: string; stderr: string }[]
  expect(output).toHaveLength(2)
  for (const one of output) {
    expect(one).toMatchObject({ stdout: '', outcome: { type: 'exit', exitCode: 126 } })
    expect(JSON.parse(one.stderr)).toMatchObject({
      error: 'permission_denied',
      code: 'DEVICE_REVOKED',
      boundary: 'tool',
      executed: false,
      on_denied: 'tell',
    })
  }
})

test.each([
  create,
  { type: 'update_file', path: 'a.txt', diff: '-a' },
  { type: 'delete_file', path: 'a.txt' },
] as const)(
  'a denied apply_patch ($type) fails with the text of the refusal, and the run goes on',
  async (operation) => {
    const { guard, authority } = await startedGuard()
    const ran: Ran = []
    const { agent, model } = gated(guard, [patchOf(ran)], [[patchCall('c1', operation)], done])
    authority.stop(PAYMENTS)
    expect((await run(agent, 'go')).finalOutput).toBe('done')
    expect(ran).toEqual([])
    const output = outputIn(model, 'apply_patch_call_output')
    expect(output).toMatchObject({ status: 'failed' })
    expect(JSON.parse(String(output?.['output']))).toMatchObject({ code: 'DEVICE_REVOKED', executed: false })
  },
)

test.each<[string, NonNullable<protocol.ComputerUseCallItem['action']>]>([
  ['click', { type: 'click', x: 1, y: 1, button: 'left' }],
  ['doubleClick', { type: 'double_click', x: 1, y: 1 }],
  ['drag', { type: 'drag', path: [] }],
  ['keypress', { type: 'keypress', keys: ['a'] }],
  ['move', { type: 'move', x: 1, y: 1 }],
  ['scroll', { type: 'scroll', x: 1, y: 1, scroll_x: 0, scroll_y: 1 }],
  ['type', { type: 'type', text: 'rm' }],
  ['wait', { type: 'wait' }],
  ['screenshot', { type: 'screenshot' }],
])('a computer asks before %s, and a denial ends the run', async (_method, action) => {
  const { guard, authority } = await startedGuard()
  const ran: Ran = []
  const { agent } = gated(guard, [computerOf(ran)], [[{ ...clickCall('c1'), action }], done])
  authority.beforeAnswer = ({ callId }) => void (callId === 'c1' && authority.stop(PAYMENTS))
  await expect(run(agent, 'go')).rejects.toMatchObject({ code: 'DEVICE_REVOKED' })
  expect(ran).toEqual(['initRun'])
})

test('revoked between two actions of one computer call: the second is not done', async () => {
  const { guard, authority } = await startedGuard()
  const ran: Ran = []
  const actions = [clickCall('c1').action, { type: 'type' as const, text: 'rm' }]
  const { agent } = gated(guard, [computerOf(ran)], [[{ ...clickCall('c1'), actions }], done])
  authority.beforeAnswer = () => void (ran.length === 2 && authority.stop(PAYMENTS))
  await expect(run(agent, 'go')).rejects.toMatchObject({ code: 'DEVICE_REVOKED' })
  expect(ran).toEqual(['initRun', 'click 1,2'])
})

test.each(['factory', 'lifecycle'])(
  'a computer made for each run by a %s is gated before its first method',
  async (form) => {
    const { guard, authority } = await startedGuard()
    const ran: Ran = []
    const disposed: unknown[] = []
    const create = async () => new CountingComputer(ran) as unknown as Computer
    const dispose = async ({ computer }: { computer: unknown }) => void disposed.push(computer)
    const computer = computerTool({ computer: form === 'factory' ? create : { create, dispose } })
    const { agent } = gated(guard, [computer], [[clickCall('c1')], done, [clickCall('c2')]])
    await new Runner().run(agent, 'go')
    expect(ran).toEqual(['initRun', 'click 1,2', 'screenshot'])
    expect(disposed).toHaveLength(form === 'lifecycle' ? 1 : 0)
    authority.beforeAnswer = ({ callId }) => void (callId === 'c2' && authority.stop(PAYMENTS))
    await expect(run(agent, 'again')).rejects.toMatchObject({ code: 'DEVICE_REVOKED' })
    expect(ran).toEqual(['initRun', 'click 1,2', 'screenshot', 'initRun'])
  },
)

test('a computer is not even told that a run begins when its surface is stopped', async () => {
  const { guard, authority } = await startedGuard()
  const ran: Ran = []
  const { agent, model } = gated(guard, [computerOf(ran)], [[clickCall('c1')], done])
  authority.stop(PAYMENTS)
  await expect(run(agent, 'go')).rejects.toMatchObject({ code: 'DEVICE_REVOKED' })
  expect(ran).toEqual([])
  expect(model.calls).toHaveLength(0)
})

test('G3: a shell starts in the tick of its permit: an answer that is too old starts nothing', async () => {
  const { guard, authority, clock } = await startedGuard()
  const ran: Ran = []
  const { agent } = gated(guard, [shellOf(ran)], [[shellCall('c1', 'ls')], done])
  authority.beforeAnswer = () => clock.advance(5000)
  await run(agent, 'go')
  expect(ran).toEqual([])
})

function innerAgent(name: string, tools: Tool<unknown>[], script: Script = [done]) {
  return scripted(tools, script, { name })
}

function counting(ran: Ran, name: string) {
  return tool({
    name,
    description: 'Counts',
    parameters: z.object({}),
    execute: () => {
      ran.push(name)
      return 'ran'
    },
  })
}

const use = (name: string, callId = 'c1') => functionCall(name, {}, { callId })
const ask = (name: string, callId = 'o1') => functionCall(name, { input: 'go' }, { callId })

test.each(kinds)(
  'a denied $kind of an inner agent ends the outer run too',
  async ({ tool: make, call, ran: all }) => {
    const { guard, authority } = await startedGuard()
    const ran: Ran = []
    const inner = innerAgent('inner', [make(ran)], [call, done])
    const outer = innerAgent('outer', [inner.agent.asTool({ toolName: 'ask' })], [[ask('ask')], done])
    guardAgent(outer.agent, guard.surface('payments'), { onDenied: 'abort' })
    authority.beforeAnswer = ({ callId }) => void (callId === 'c1' && authority.stop(PAYMENTS))
    await expect(runAgent(guard, outer.agent, 'go')).rejects.toBeInstanceOf(GuardDeniedError)
    expect(ran).toEqual(all.filter((one) => one === 'initRun'))
    expect([inner, outer].map(({ model }) => model.calls.length)).toEqual([1, 1])
  },
)

test('agents behind agent tools are gated too, at any depth and across cycles', async () => {
  const { guard, authority } = await startedGuard()
  const ran: Ran = []
  const leaf = innerAgent('leaf', [counting(ran, 'deep')], [[use('deep')], done])
  const middle = innerAgent(
    'middle',
    [leaf.agent.asTool({ toolName: 'ask_leaf' })],
    [[ask('ask_leaf', 'm1')], done],
  )
  const outer = innerAgent(
    'outer',
    [middle.agent.asTool({ toolName: 'ask_middle' })],
    [[ask('ask_middle')], done],
  )
  leaf.agent.handoffs = [outer.agent]
  guardAgent(outer.agent, (name) => guard.surface(name === 'deep' ? 'email' : 'payments'))
  authority.stop(EMAIL)
  await run(outer.agent, 'go')
  expect(ran).toEqual([])
  expect(refusalIn(leaf.model, 'c1')).toMatchObject({ code: 'DEVICE_REVOKED', device_id: EMAIL })
  expect(authority.questions.map(({ tool: name }) => name)).toEqual([
    undefined,
    'ask_middle',
    'ask_leaf',
    'deep',
  ])
})

test('the agent of a handoff() object is gated', async () => {
  const { guard, authority } = await startedGuard()
  const ran: Ran = []
  const second = innerAgent(
    'second',
    [counting(ran, 'mine'), shellOf(ran)],
    [[use('mine'), shellCall('s1', 'ls')], done],
  )
  const script = [[functionCall('go_second', {}, { callId: 'h1' })]]
  const { agent } = scripted([], script, {
    handoffs: [handoff(second.agent, { toolNameOverride: 'go_second' })],
  })
  guardAgent(agent, (name) => guard.surface(name === 'go_second' ? 'email' : 'payments'))
  authority.stop(PAYMENTS)
  await run(agent, 'go')
  expect(second.model.calls).toHaveLength(2)
  expect(ran).toEqual([])
})

test('a copy of an agent tool hides its agent: it is refused by name until innerAgents names it', async () => {
  const { guard, authority } = await startedGuard()
  const ran: Ran = []
  const inner = innerAgent('inner', [counting(ran, 'mine')], [[use('mine')], done])
  const copy = toolNamespace({
    name: 'team',
    description: 'The team',
    tools: [inner.agent.asTool({ toolName: 'ask_inner' })],
  })
  const call = functionCall('ask_inner', { input: 'go' }, { callId: 'o1', namespace: 'team' })
  const { agent } = scripted(copy, [[call], done])
  expect(() => guardAgent(agent, guard.surface('payments'))).toThrow(
    /'ask_inner' of agent "support" \(which agent is behind it is not known: \{ innerAgents: \{ ask_inner: agent \} \}\)/,
  )
  expect(copy[0]?.inputGuardrails).toEqual([])
  expect(() =>
    guardAgent(agent, guard.surface('payments'), { innerAgents: { ask_other: inner.agent } }),
  ).toThrow(/innerAgents names 'ask_other'/)
  guardAgent(agent, (name) => guard.surface(name === 'mine' ? 'email' : 'payments'), {
    innerAgents: { ask_inner: inner.agent },
  })
  authority.stop(EMAIL)
  await run(agent, 'go')
  expect(ran).toEqual([])
  expect(refusalIn(inner.model, 'c1')).toMatchObject({ device_id: EMAIL })
})

test('what runs at OpenAI cannot be gated: refused by name and agent, before anything is changed', async () => {
  const { guard } = await startedGuard()
  const mine = counting([], 'mine')
  const crm = { serverLabel: 'crm', serverUrl: 'https://example.com', requireApproval: 'never' } as const
  const container = shellTool({ name: 'far_shell', environment: { type: 'container_auto' } })
  const inner = innerAgent('inner', [container, codeInterpreterTool()])
  const { agent } = scripted([mine, webSearchTool(), hostedMcpTool(crm)], [done], { handoffs: [inner.agent] })
  const names = ['web_search', 'hosted_mcp:crm', 'far_shell', 'code_interpreter']
  expect(() => guardAgent(agent, guard.surface('payments'))).toThrow(
    expect.objectContaining({
      code: 'GUARD_MISCONFIGURED',
      message:
        `These cannot be gated: 'web_search' of agent "support", 'hosted_mcp:crm' of agent "support", ` +
        `'far_shell' of agent "inner" (its shell runs at OpenAI), 'code_interpreter' of agent "inner". ` +
        `Leave them out, or let them through by name: ` +
        `allowUngated: ['web_search', 'hosted_mcp:crm', 'far_shell', 'code_interpreter']`,
    }),
  )
  expect(mine.inputGuardrails).toEqual([])
  guardAgent(agent, guard.surface('payments'), { allowUngated: names })
  expect(mine.inputGuardrails).toHaveLength(1)
})

test('an undeclared surface is refused before anything is changed', async () => {
  const { guard } = await startedGuard()
  const [first, second] = [counting([], 'first'), counting([], 'second')]
  const { agent } = scripted([first, second], [done])
  expect(() => guardAgent(agent, (name) => guard.surface(name === 'first' ? 'payments' : 'none'))).toThrow(
    /"none" is not declared/,
  )
  expect(first.inputGuardrails).toEqual([])
})

test('what a sandbox agent can do is refused by capability', async () => {
  const { guard } = await startedGuard()
  const agent = new SandboxAgent({ name: 'sandboxed' })
  expect(() => guardAgent(agent, guard.surface('payments'))).toThrow(
    /'sandbox:filesystem' of agent "sandboxed", 'sandbox:shell' of agent "sandboxed"/,
  )
})

test('tools that an agent makes up by itself cannot be seen: refused', async () => {
  const { guard } = await startedGuard()
  const dynamic = scripted([], [done], { name: 'dynamic' }).agent
  dynamic.getAllTools = async () => [counting([], 'hidden')]
  expect(() => guardAgent(dynamic, guard.surface('payments'))).toThrow(/'getAllTools' of agent "dynamic"/)
  const prompted = new Agent({ name: 'prompted', prompt: { promptId: 'pmpt_1' } })
  expect(() => guardAgent(prompted, guard.surface('payments'))).toThrow(/'prompt' of agent "prompted"/)
  guardAgent(new Agent({ name: 'ok', prompt: { promptId: 'pmpt_1' }, tools: [] }), guard.surface('payments'))
})

test('frozen shells, editors and computers are refused, before anything is changed', async () => {
  const { guard } = await startedGuard()
  const mine = counting([], 'mine')
  const tools = [
    mine,
    shellTool({ shell: Object.freeze(countingShell([])) }),
    applyPatchTool({ editor: Object.freeze(countingEditor([])) }),
    computerTool({ computer: Object.freeze(new CountingComputer([])) }),
  ]
  const { agent } = scripted(tools, [done])
  expect(() => guardAgent(agent, guard.surface('payments'))).toThrow(
    /'shell' .*it is frozen.*'apply_patch' .*it is frozen.*'computer_use_preview' .*it is frozen/,
  )
  expect(mine.inputGuardrails).toEqual([])
})
