import type { Agent, AgentOutputType, MCPServer } from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import type { Guard } from '../guard/guard.ts'
import type { Surface } from '../guard/surface.ts'
import { isActionTool, watchActions } from './action-call.ts'
import { nameInnerAgents, reachableAgents } from './agent-graph.ts'
import { gatablesOf, type Gatable } from './gatables.ts'
import { newGate, type Gate } from './gates.ts'
import { gateOfGuardrails, gatesOfGuardrails, withGate, type GuardToolOptions } from './guard-tool.ts'
import { refuseSecondSurface } from './second-surface.ts'
import type { AnyAgent } from './session.ts'
import { listed, ungatableOf } from './ungatable.ts'

/** What `guardAgent` takes, beside what `guardTool` does. */
export interface GuardAgentOptions extends GuardToolOptions {
  /**
   * Names of what may stay without a gate, because it has no seat for one: tools that run at OpenAI by their name, a
   * hosted MCP server by `hosted_mcp:<label>`, what a sandbox agent can do by `sandbox:<capability>`.
   */
  readonly allowUngated?: readonly string[]
  /** The agents behind copies of agent tools, by the tool's name: of a tool that `asTool()` gave it is known. */
  // oxlint-disable-next-line typescript/no-explicit-any -- an agent's context is invariant: `unknown` would take none.
  readonly innerAgents?: Readonly<Record<string, Agent<any, any>>>
}

/**
 * Gates every tool of an agent that runs here, in place and once: function tools, local MCP servers, local shells,
 * editors of `applyPatchTool`, computers and what `handoff()` made, and those of the agents it hands off to or uses as
 * tools. Tools that are added later are not gated: call it again. A gate of `guardTool` stays as it is. Throws
 * `GUARD_MISCONFIGURED` before it changes anything: naming everything that cannot be gated and is not in `allowUngated`,
 * and for what another `guardAgent` has gated on another surface. Of an MCP server that is known only where both calls
 * gave one surface: where one gave a function, the first gate stays.
 */
export function guardAgent<Context, Output extends AgentOutputType>(
  agent: Agent<Context, Output>,
  surface: Surface | ((toolName: string) => Surface),
  options: GuardAgentOptions = {},
): void {
  const surfaceOf = typeof surface === 'function' ? surface : () => surface
  const start = agent as unknown as AnyAgent
  nameInnerAgents(
    reachableAgents(start).flatMap((one) => one.tools),
    options.innerAgents ?? {},
  )
  const agents = reachableAgents(start)
  refuseUngatable(agents, options.allowUngated ?? [])
  // Asked for all of them first: it throws for a surface that is not declared.
  const placed = agents.flatMap(gatablesOf).map((gatable) => ({ gatable, surface: surfaceOf(gatable.name) }))
  const servers = agents.flatMap((one) => one.mcpServers)
  refuseSecondSurfaces(placed)
  if (typeof surface !== 'function') refuseSecondSurfacesOf(servers, surface)

  const made = { onDenied: options.onDenied ?? 'tell', madeBy: 'guardAgent' } as const
  for (const { gatable, surface: own } of placed) gatable.put(newGate(own, made))
  for (const server of servers) {
    // The SDK puts these guardrails on each tool that it makes of the server's.
    server.toolInputGuardrails = withGate(server.toolInputGuardrails, newGate(surface, made))
  }
  for (const one of agents) if (one.tools.some(isActionTool)) watchActions(one)
}

interface Placed {
  readonly gatable: Gatable
  readonly surface: Surface
}

function refuseSecondSurfaces(placed: readonly Placed[]): void {
  const bySeat = new Map<object, Surface>()
  for (const { gatable, surface: wanted } of placed) {
    const { what, name, seat, gates } = gatable
    for (const { madeBy, surfaceOf } of gates)
      if (madeBy === 'guardAgent') refuseSecondSurface(what, { present: surfaceOf(name), wanted })
    refuseSecondSurface(what, { present: bySeat.get(seat) ?? wanted, wanted })
    bySeat.set(seat, wanted)
  }
}

function refuseSecondSurfacesOf(servers: readonly MCPServer[], wanted: Surface): void {
  for (const server of servers)
    for (const { fixedSurface } of gatesOfGuardrails(server.toolInputGuardrails))
      refuseSecondSurface(`MCP server "${server.name}"`, { present: fixedSurface ?? wanted, wanted })
}

function refuseUngatable(agents: readonly AnyAgent[], allowUngated: readonly string[]): void {
  const found = ungatableOf(agents, allowUngated)
  if (found.length === 0) return
  const names = found.map(({ name }) => `'${name}'`).join(', ')
  throw new GuardMisconfiguredError(
    `These cannot be gated: ${listed(found)}. Leave them out, or let them through by name: allowUngated: [${names}]`,
  )
}

export function gateOfServer(server: MCPServer): Gate | undefined {
  return gateOfGuardrails(server.toolInputGuardrails)
}

/** True when it asks this guard, as far as that is known before a call: a surface per MCP tool is not. */
export function asks(gate: Gate, guard: Guard, toolName: string): boolean {
  return gate.surfaceOf(toolName).guard === guard
}
