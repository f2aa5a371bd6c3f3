import { Agent, type AgentOutputType, type MCPServer } from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import type { Surface } from '../guard/surface.ts'
import { guardTool, withGate, type GuardToolOptions } from './guard-tool.ts'
import type { AnyAgent } from './session.ts'
import { isGuarded } from './tool-core.ts'

export interface GuardAgentOptions extends GuardToolOptions {
  /** Names of tools that may stay without a gate: hosted, shell, computer and patch tools have no seat for one. A hosted
   * MCP server goes by `hosted_mcp:<label>`. */
  readonly allowUngated?: readonly string[]
}

/**
 * Gates every tool of an agent that can be gated, in place and once: its function tools, its local MCP servers, and
 * those of the agents it hands off to. Tools that are added later are not: call it again. An agent behind `asTool()` is
 * gated as one tool; guard that agent itself too. Throws `GUARD_MISCONFIGURED`, naming every tool that cannot be gated
 * and is not in `allowUngated`, before it changes anything.
 */
export function guardAgent<Context, Output extends AgentOutputType>(
  agent: Agent<Context, Output>,
  surface: Surface | ((toolName: string) => Surface),
  options: GuardAgentOptions = {},
): void {
  const surfaceOf = typeof surface === 'function' ? surface : () => surface
  const agents = reachableAgents(agent as unknown as AnyAgent)
  const tools = agents.flatMap((one) => one.tools)
  refuseUngated(tools, options.allowUngated ?? [])
  const gated = tools
    .filter((tool) => tool.type === 'function' && !isGuarded(tool))
    .map((tool) => ({ tool, surface: surfaceOf(tool.name) }))

  for (const { tool, surface: own } of gated) guardTool(tool, own, options)
  for (const server of agents.flatMap((one) => one.mcpServers)) guardServer(server, surfaceOf, options)
}

function refuseUngated(tools: AnyAgent['tools'], allowUngated: readonly string[]): void {
  const ungated = tools.filter(
    (tool) => tool.type !== 'function' && !allowUngated.includes(ungatedName(tool)),
  )
  if (ungated.length === 0) return
  const names = ungated.map((tool) => `'${ungatedName(tool)}'`).join(', ')
  throw new GuardMisconfiguredError(
    `These tools cannot be gated: ${names}. Leave them out, or let them through by name: allowUngated: [${names}]`,
  )
}

/** All hosted MCP servers share one name: each is let through by its own. */
function ungatedName(tool: AnyAgent['tools'][number]): string {
  if (tool.type !== 'hosted_tool' || tool.name !== 'hosted_mcp') return tool.name
  return `hosted_mcp:${String(tool.providerData?.['server_label'])}`
}

/** The SDK puts these guardrails on each tool that it makes of the server's. */
function guardServer(
  server: MCPServer,
  surfaceOf: (toolName: string) => Surface,
  options: GuardToolOptions,
): void {
  server.toolInputGuardrails = withGate(server.toolInputGuardrails, surfaceOf, options)
}

function reachableAgents(start: AnyAgent): AnyAgent[] {
  const seen = new Set<AnyAgent>()
  const waiting = [start]
  for (let agent = waiting.pop(); agent !== undefined; agent = waiting.pop()) {
    if (seen.has(agent)) continue
    seen.add(agent)
    for (const handoff of agent.handoffs) waiting.push(handoff instanceof Agent ? handoff : handoff.agent)
  }
  return [...seen]
}
