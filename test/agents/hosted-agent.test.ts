import { hostedMcpTool, run, tool, webSearchTool } from '@openai/agents'
import { functionCall } from '@openai/agents/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { guardAgent, guardTool, runAgent, type Guard } from 'holdpoint'
import { hostAgents, type HostedAgent } from '../../src/agents/hosted/hosted-agent.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { clickCall, computerOf, patchCall, patchOf, shellCall, shellOf, type Ran } from './action-tools.ts'
import { ann, boss, decideAll, hostedWorld } from './hosted/world.ts'
import { Bank, done, refundCall, refundTool, refusalIn, scripted } from './helpers.ts'

type Script = Parameters<typeof scripted>[1]

function foreign(ran: Ran, name = 'foreign', needsApproval = false) {
  return tool({
    name,
    description: 'Made by somebody else',
    parameters: z.object({ path: z.string() }),
    needsApproval,
    execute: ({ path }) => {
      ran.push(`${name} ${path}`)
      return 'ran'
    },
  })
}

const call = (callId = 'c1', path = '/tmp', name = 'foreign') => functionCall(name, { path }, { callId })
const create = { type: 'create_file', path: 'a.txt', diff: '+a' } as const

describe('hosting', () => {
  test('an agent whose local tools all ask this guard can be hosted', async () => {
    const { guard } = await startedGuard()
    const inner = scripted([foreign([], 'deep')], [done], { name: 'inner' }).agent
    const { agent } = scripted(
      [
        refundTool(guard, new Bank()),
        foreign([]),
        shellOf([]),
        patchOf([]),
        computerOf([]),
        inner.asTool({}),
      ],
      [done],
    )
    guardAgent(agent, guard.surface('payments'))
    expect([...hostAgents(guard, [{ agent }, { agent, name: 'twin' }]).keys()]).toEqual(['support', 'twin'])
  })

  test('each ungated local tool is named with its agent and the next step, and nothing is changed', async () => {
    const { guard } = await startedGuard()
    const bank = new Bank()
    const inner = scripted([foreign([], 'deep')], [done], { name: 'inner' }).agent
    const second = scripted([patchOf([]), computerOf([])], [done], { name: 'second' }).agent
    const server = { name: 'files', cacheToolsList: false } as never
    const refund = refundTool(guard, bank)
    const { agent } = scripted(
      [refund, foreign([]), shellOf([]), inner.asTool({ toolName: 'ask' })],
      [done],
      {
        handoffs: [second],
        mcpServers: [server],
      },
    )
    const fine = scripted([refund], [done], { name: 'fine' }).agent
    expect(() => hostAgents(guard, [{ agent: fine }, { agent }])).toThrow(
      expect.objectContaining({
        code: 'GUARD_MISCONFIGURED',
        message: expect.stringMatching(
          /^Agent "support" cannot be hosted\. Not gated: 'foreign' of agent "support", 'shell' of agent "support", 'ask' of agent "support", 'files' of agent "support" \(an MCP server\), .*Gate them: guardAgent\(agent, surface\)\.$/,
        ),
      }),
    )
    const named = /'apply_patch' of agent "second", 'computer_use_preview' of agent "second"/
    expect(() => hostAgents(guard, [{ agent }])).toThrow(named)
    expect(() => hostAgents(guard, [{ agent }])).toThrow(/'deep' of agent "inner"/)
    // Not marked: outside of a session it still runs.
    const plain = scripted([refund], [[refundCall('c1')], done])
    await run(plain.agent, 'go')
    expect(bank.invoices).toEqual(['INV-1'])
  })

  test('a tool gated or guarded on another guard is not gated here', async () => {
    const { guard } = await startedGuard()
    const other = await startedGuard()
    const mine = refundTool(other.guard, new Bank())
    const theirs = guardTool(foreign([]), other.guard.surface('payments'))
    expect(() => hostAgents(guard, [{ agent: scripted([mine, theirs], [done]).agent }])).toThrow(
      /'refund' of agent "support" \(it asks another guard\), 'foreign' of agent "support" \(it asks another guard\)/,
    )
  })

  test('what runs at OpenAI is let through by name only; a local tool never is', async () => {
    const { guard } = await startedGuard()
    const crm = hostedMcpTool({ serverLabel: 'crm', serverUrl: 'https://example.com' })
    const { agent } = scripted([webSearchTool(), crm, foreign([])], [done])
    const allowUngated = ['web_search', 'hosted_mcp:crm', 'foreign']
    expect(() => hostAgents(guard, [{ agent }])).toThrow(
      /Cannot be gated: 'web_search' .* Or let through .*allowUngated: \['web_search', 'hosted_mcp:crm'\]/,
    )
    expect(() => hostAgents(guard, [{ agent, allowUngated }])).toThrow(
      /Not gated: 'foreign' of agent "support"/,
    )
    agent.tools = [webSearchTool(), crm]
    hostAgents(guard, [{ agent, allowUngated }])
  })

  test('a guardrail behind the gate would take its time after the verdict: refused (G3)', async () => {
    const { guard } = await startedGuard()
    const late = guardTool(foreign([]), guard.surface('payments'))
    const { agent } = scripted([late], [done])
    const slow = {
      type: 'tool_input' as const,
      name: 'slow',
      run: async () => ({ behavior: { type: 'allow' as const } }),
    }
    late.inputGuardrails = [...(late.inputGuardrails ?? []), slow]
    expect(() => hostAgents(guard, [{ agent }])).toThrow(/'foreign' of agent "support"/)
    guardAgent(agent, guard.surface('payments'))
    hostAgents(guard, [{ agent }])
  })

  test('two agents of one name are refused', async () => {
    const { guard } = await startedGuard()
    const agent = scripted([], [done]).agent
    expect(() => hostAgents(guard, [{ agent }, { agent }])).toThrow(/Two hosted agents are called "support"/)
  })

  test('NO_SESSION: gated tools of a hosted agent run in sessions only', async () => {
    const { guard, authority } = await startedGuard()
    const ran: Ran = []
    const script: Script = [[call('c1'), shellCall('s1', 'ls'), patchCall('p1', create)], done]
    const made = [0, 1].map(() => scripted([foreign(ran), shellOf(ran), patchOf(ran)], script))
    for (const { agent } of made) guardAgent(agent, guard.surface('payments'))
    hostAgents(
      guard,
      made.map(({ agent }, index) => ({ agent, name: `a${index}` })),
    )
    const [plain, session] = made as [(typeof made)[0], (typeof made)[0]]
    await run(plain.agent, 'go')
    expect(ran).toEqual([])
    expect(refusalIn(plain.model, 'c1')).toMatchObject({ code: 'NO_SESSION', executed: false })
    expect(authority.boundaries).toEqual(['startup'])
    await runAgent(guard, session.agent, 'go')
    expect(ran).toEqual(['foreign /tmp', 'ls', 'create_file a.txt'])
  })
})

async function worldOf(make: (guard: Guard) => { agent: HostedAgent['agent'] }) {
  return hostedWorld({ agents: (guard) => [make(guard)] })
}

const start = { agent: 'support', input: 'go', runId: 'run_1' }

describe('a hosted run', () => {
  test('is refused when a tool was added that is not gated, and runs again when it is', async () => {
    const ran: Ran = []
    const made = scripted([foreign(ran)], [[call('c1')], done])
    const world = await worldOf((guard) => {
      guardAgent(made.agent, guard.surface('payments'))
      return made
    })
    made.agent.tools.push(foreign(ran, 'late'))
    const refused = await world.runs.start(ann, start)
    expect(refused).toMatchObject({ status: 'failed' })
    expect(made.model.calls).toHaveLength(0)
    expect(ran).toEqual([])
    guardAgent(made.agent, world.guard.surface('payments'))
    expect(await world.runs.start(ann, { ...start, runId: 'run_2' })).toMatchObject({ status: 'completed' })
    expect(ran).toEqual(['foreign /tmp'])
  })

  test('does not run a tool that was added to an inner agent, or in the middle of the run', async () => {
    const ran: Ran = []
    const inner = scripted([], [[call('i1', '/tmp', 'late')], done], { name: 'inner' })
    const adds = tool({
      name: 'adds',
      description: 'Adds a tool to the agent that runs it',
      parameters: z.object({}),
      execute: () => {
        inner.agent.tools.push(foreign(ran, 'late'))
        return 'added'
      },
    })
    const made = scripted(
      [adds, inner.agent.asTool({ toolName: 'ask' })],
      [
        [functionCall('adds', {}, { callId: 'a1' })],
        [functionCall('ask', { input: 'x' }, { callId: 'o1' })],
        done,
      ],
    )
    const world = await worldOf((guard) => {
      guardAgent(made.agent, guard.surface('payments'))
      return made
    })
    expect(await world.runs.start(ann, start)).toMatchObject({ status: 'failed' })
    expect(ran).toEqual([])
    expect(inner.model.calls).toHaveLength(0)
    expect(made.model.calls).toHaveLength(1)
  })

  const kinds = [
    {
      kind: 'function',
      make: (ran: Ran) => foreign(ran, 'foreign', true),
      item: call('c1'),
      shown: { path: '/tmp' },
      ran: ['foreign /tmp'],
    },
    {
      kind: 'shell',
      make: (ran: Ran) => shellOf(ran, { needsApproval: true }),
      item: shellCall('c1', 'rm x'),
      shown: { commands: ['rm x'] },
      ran: ['rm x'],
    },
    {
      kind: 'apply_patch',
      make: (ran: Ran) => patchOf(ran, { needsApproval: true }),
      item: patchCall('c1', create),
      shown: create,
      ran: ['create_file a.txt'],
    },
    {
      kind: 'computer',
      make: (ran: Ran) => computerOf(ran, { needsApproval: true }),
      item: clickCall('c1'),
      shown: clickCall('c1').action,
      ran: ['click 1,2', 'screenshot'],
    },
  ]

  describe.each(kinds)(
    'with a gated $kind tool that needs approval',
    ({ make, item, shown, ran: expected }) => {
      async function paused() {
        const ran: Ran = []
        const made = scripted([make(ran)], [[item], done])
        const world = await worldOf((guard) => {
          guardAgent(made.agent, guard.surface('payments'))
          return made
        })
        const view = await world.runs.start(ann, start)
        expect(view).toMatchObject({ status: 'interrupted' })
        ran.length = 0
        return { ...world, ...made, ran, view }
      }

      test('shows what will run and where, and runs it once when it is approved', async () => {
        const { runs, ran, view } = await paused()
        expect(view.approvals).toMatchObject([
          { callId: 'c1', arguments: shown, surface: 'payments', state: 'waiting' },
        ])
        await decideAll(runs, 'run_1', true)
        expect(ran).toEqual([])
        expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({ status: 'completed' })
        expect(ran.filter((one) => one !== 'initRun')).toEqual(expected)
        expect((await runs.show(boss, 'run_1')).allApprovals).toMatchObject([{ state: 'used' }])
      })

      test('runs nothing when it is declined', async () => {
        const { runs, ran } = await paused()
        await decideAll(runs, 'run_1', false)
        expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({ status: 'completed' })
        expect(ran.filter((one) => one !== 'initRun')).toEqual([])
      })

      test('runs nothing when the approval was used up before, and asks for a new one', async () => {
        const { runs, ran, store } = await paused()
        await decideAll(runs, 'run_1', true)
        const [approval] = await store.runs.approvalsOf('run_1')
        await store.runs.useApproval({ approvalId: approval?.approvalId ?? '', useToken: 'somebody' })
        expect(await runs.resume(ann, { runId: 'run_1' })).toMatchObject({
          approvals: [{ callId: 'c1', state: 'waiting' }],
        })
        expect(ran.filter((one) => one !== 'initRun')).toEqual([])
      })
    },
  )

  test('resumed with a tool that lost its gate meanwhile: the pending call does not run', async () => {
    const ran: Ran = []
    const made = scripted([foreign(ran, 'foreign', true)], [[call('c1')], done])
    const { runs } = await worldOf((guard) => {
      guardAgent(made.agent, guard.surface('tool-server'))
      return made
    })
    await runs.start(ann, start)
    await decideAll(runs, 'run_1', true)
    made.agent.tools = [foreign(ran, 'foreign', true)]
    expect(await runs.resume(ann, { runId: 'run_1' })).not.toMatchObject({ status: 'completed' })
    expect(ran).toEqual([])
    expect(made.model.calls).toHaveLength(1)
  })

  test('approved once, agent tools go on over the pauses of their agents, at any depth', async () => {
    const ran: Ran = []
    const deep = [[call('i1', '/a', 'deep')], [call('i2', '/b', 'deep')], done]
    const inner = scripted([foreign(ran, 'deep', true)], deep, { name: 'inner' })
    const middle = scripted(
      [inner.agent.asTool({ toolName: 'ask_inner', needsApproval: true })],
      [[functionCall('ask_inner', { input: 'x' }, { callId: 'm1' })], done],
      { name: 'middle' },
    )
    const made = scripted(
      [middle.agent.asTool({ toolName: 'ask_middle', needsApproval: true })],
      [[functionCall('ask_middle', { input: 'x' }, { callId: 'o1' })], done],
    )
    const { runs } = await worldOf((guard) => {
      guardAgent(made.agent, guard.surface('payments'))
      return made
    })
    const asked: string[] = []
    let view = await runs.start(ann, start)
    for (let turn = 0; view.status === 'interrupted' && turn < 6; turn += 1) {
      asked.push(...view.approvals.map(({ callId }) => callId))
      await decideAll(runs, 'run_1', true)
      view = await runs.resume(ann, { runId: 'run_1' })
    }
    expect(asked).toEqual(['o1', 'm1', 'i1', 'i2'])
    expect(view).toMatchObject({ status: 'completed' })
    expect(ran).toEqual(['deep /a', 'deep /b'])
  })
})
