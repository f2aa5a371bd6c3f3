import type { Agent, MCPServer, Runner, Tool } from '@openai/agents'
import { GuardMisconfiguredError } from '../../errors.ts'
import type { Guard } from '../../guard/guard.ts'
import { isActionTool, watchActions } from '../action-call.ts'
import { reachableAgents } from '../agent-graph.ts'
import { gateOfHandoff, handoffsOf, type AnyHandoff } from '../gate-handoff.ts'
import { gateOf } from '../gatables.ts'
import { asks, gateOfServer } from '../guard-agent.ts'
import type { Gate } from '../gates.ts'
import type { AnyAgent } from '../session.ts'
import { guardedToolCore, isGuarded } from '../tool-core.ts'
import { listed, ungatableOf, ungatedName, type Ungatable } from '../ungatable.ts'
import { markHosted } from './hosted-tools.ts'

/** An agent that a tool server runs for its callers. */
export interface HostedAgent {
  // oxlint-disable-next-line typescript/no-explicit-any -- an agent's context is invariant: `unknown` would take none.
  readonly agent: Agent<any, any>
  /** What callers ask for it by. Default: the agent's name. */
  readonly name?: string | undefined
  /** Makes the app's own context of a run; it is made anew for each resume and never stored. Default: what the caller sent. */
  readonly context?: (at: HostedContext) => unknown
  /** Default: the SDK's, 10. `null`: no limit. */
  readonly maxTurns?: number | null | undefined
  /**
   * Carries the run configuration. Default: one with the SDK's defaults. With `preApprovalInputGuardrails` it is refused:
   * nothing could be approved.
   */
  readonly runner?: Runner | undefined
  /** What may stay without a gate because it runs at OpenAI, by the names of `guardAgent`'s `allowUngated`. */
  readonly allowUngated?: readonly string[] | undefined
}

export interface HostedContext {
  readonly caller: string
  readonly runId: string
  /** What the caller sent with this start or resume. */
  readonly context: unknown
}

/**
 * Looks through agents to be hosted, the agents they hand off to and those behind their tools. Every local tool and
 * every `handoff()` must ask this guard: made by `guardedTool`, or gated by `guardAgent`. From then on they run in
 * sessions only. Gives the agents by name. Throws `GUARD_MISCONFIGURED`, naming each that does not, before it changes
 * anything.
 */
export function hostAgents(guard: Guard, agents: readonly HostedAgent[]): ReadonlyMap<string, HostedAgent> {
  const named = new Map<string, HostedAgent>()
  for (const hosted of agents) {
    const name = hosted.name ?? hosted.agent.name
    if (named.has(name)) {
      throw new GuardMisconfiguredError(
        `Two hosted agents are called "${name}". Give one of them another name: { agent, name: '…' }`,
      )
    }
    refusePreApproval(name, hosted.runner)
    named.set(name, hosted)
  }
  for (const { agent, allowUngated } of agents) refuseUngated(guard, agent, allowUngated)
  for (const { agent } of agents) settleIn(guard, agent)
  return named
}

/**
 * Looks through an agent that is about to run in a hosted run, be it the hosted one or one that it uses: tools may have
 * been added since. Throws `GUARD_MISCONFIGURED`, and then nothing of that agent may run.
 */
export function admitAgent(
  guard: Guard,
  { allowUngated }: Pick<HostedAgent, 'allowUngated'>,
  agent: AnyAgent,
): void {
  refuseUngated(guard, agent, allowUngated)
  settleIn(guard, agent)
}

/** Gates would look for the approval of a call before anybody was asked for it, and refuse each. */
function refusePreApproval(name: string, runner: Runner | undefined): void {
  if (runner?.config.toolExecution?.preApprovalInputGuardrails !== true) return
  throw new GuardMisconfiguredError(
    `Agent "${name}" cannot be hosted: its runner has toolExecution.preApprovalInputGuardrails, with which the gates of ` +
      'guardTool and guardAgent run before a person was asked, so that no call could be approved. Leave it out.',
  )
}

function refuseUngated(guard: Guard, agent: AnyAgent, allowUngated: readonly string[] = []): void {
  const agents = reachableAgents(agent)
  const ungatable = ungatableOf(agents, allowUngated)
  const ungated = agents.flatMap((one) => ungatedOf(guard, one))
  const gatable = ungated.filter((one) => !names(ungatable).includes(one.name))
  const atOpenAI = ungatable.filter((one) => !names(ungated).includes(one.name))
  if (ungatable.length + gatable.length === 0) return
  const steps = [
    ...(gatable.length === 0
      ? []
      : [`Not gated: ${listed(gatable)}. Gate them: guardAgent(agent, surface).`]),
    ...(ungatable.length === 0 ? [] : [`Cannot be gated: ${listed(ungatable)}. Leave them out.`]),
    ...(atOpenAI.length === 0
      ? []
      : [`Or let through what is not run here: allowUngated: ['${names(atOpenAI).join("', '")}'].`]),
  ]
  throw new GuardMisconfiguredError(`Agent "${agent.name}" cannot be hosted. ${steps.join(' ')}`)
}

function names(found: readonly Ungatable[]): readonly string[] {
  return found.map(({ name }) => name)
}

/** Local tools of one agent that would run without asking this guard. */
function ungatedOf(guard: Guard, agent: AnyAgent): Ungatable[] {
  const why = (name: string, problem: string | undefined) =>
    problem === undefined ? [] : [{ name, agent: agent.name, ...(problem === '' ? {} : { why: problem }) }]
  return [
    ...agent.tools.flatMap((tool) => why(ungatedName(tool), toolProblem(guard, tool))),
    ...agent.mcpServers.flatMap((server) => why(server.name, serverProblem(server))),
    ...handoffsOf(agent).flatMap((handoff) => why(handoff.toolName, handoffProblem(guard, handoff))),
  ]
}

const OTHER_GUARD = 'it asks another guard'

function toolProblem(guard: Guard, tool: Tool<unknown>): string | undefined {
  const core = guardedToolCore(tool)
  if (core !== undefined) return core.guard === guard ? undefined : OTHER_GUARD
  if (tool.type !== 'function' && !isActionTool(tool)) return undefined
  const gate = gateOf(tool)
  if (gate === undefined) return ''
  return asks(gate, guard, tool.name) ? undefined : OTHER_GUARD
}

/** Which guard an MCP tool asks is known at its call, and looked at there. */
function serverProblem(server: MCPServer): string | undefined {
  return gateOfServer(server) === undefined ? 'an MCP server' : undefined
}

function handoffProblem(guard: Guard, handoff: AnyHandoff): string | undefined {
  const gate = gateOfHandoff(handoff)
  if (gate === undefined) return 'a handoff() may run code'
  return asks(gate, guard, handoff.toolName) ? undefined : OTHER_GUARD
}

/** From now on none of its tools runs outside of a session, where nobody would have approved it. */
function settleIn(guard: Guard, agent: AnyAgent): void {
  for (const one of reachableAgents(agent)) {
    const { tools, mcpServers } = one
    if (tools.some(isActionTool)) watchActions(one)
    for (const tool of tools) {
      if (tool.type === 'function' && isGuarded(tool)) markHosted(tool)
      hostGate(gateOf(tool), guard)
    }
    for (const server of mcpServers) hostGate(gateOfServer(server), guard)
    for (const handoff of handoffsOf(one)) hostGate(gateOfHandoff(handoff), guard)
  }
}

function hostGate(gate: Gate | undefined, guard: Guard): void {
  if (gate !== undefined) gate.hostedBy = guard
}
