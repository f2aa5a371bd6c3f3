import type {
  Agent,
  AgentOutputType,
  FunctionTool,
  MCPServer,
  Tool,
  ToolInputParameters,
} from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import type { Guard } from '../guard/guard.ts'
import type { Surface } from '../guard/surface.ts'
import { isActionTool, watchActions } from './action-call.ts'
import { nameInnerAgents, reachableAgents } from './agent-graph.ts'
import { gateComputer, gateOfComputer } from './gate-computer.ts'
import { EDITOR_METHODS, gatePatch } from './gate-patch.ts'
import { gateShell, SHELL_METHODS } from './gate-shell.ts'
import { gateOfMethods, newGate, type Gate } from './gates.ts'
import { gateOfGuardrails, withGate, type GuardToolOptions } from './guard-tool.ts'
import type { AnyAgent } from './session.ts'
import { isGuarded } from './tool-core.ts'
import { isUngatable, listed, ungatableOf } from './ungatable.ts'

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
 * editors of `applyPatchTool` and computers, and those of the agents it hands off to or uses as tools. Tools that are
 * added later are not gated: call it again. Throws `GUARD_MISCONFIGURED`, naming everything that cannot be gated and is
 * not in `allowUngated`, before it changes anything.
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
  const tools = agents.flatMap((one) => one.tools).filter((tool) => !isGuarded(tool))
  // Asked for all of them first: it throws for a surface that is not declared.
  const onSurfaces = tools.filter(isGatable).map((tool) => ({ tool, surface: surfaceOf(tool.name) }))

  const onDenied = options.onDenied ?? 'tell'
  for (const { tool, surface: own } of onSurfaces)
    gateTool(
      tool,
      newGate(() => own, onDenied),
    )
  for (const server of agents.flatMap((one) => one.mcpServers)) {
    // The SDK puts these guardrails on each tool that it makes of the server's.
    server.toolInputGuardrails = withGate(server.toolInputGuardrails, newGate(surfaceOf, onDenied))
  }
  for (const one of agents) if (one.tools.some(isActionTool)) watchActions(one)
}

function refuseUngatable(agents: readonly AnyAgent[], allowUngated: readonly string[]): void {
  const found = ungatableOf(agents, allowUngated)
  if (found.length === 0) return
  const names = found.map(({ name }) => `'${name}'`).join(', ')
  throw new GuardMisconfiguredError(
    `These cannot be gated: ${listed(found)}. Leave them out, or let them through by name: allowUngated: [${names}]`,
  )
}

/** What was let through by name may still be gated at its own seat: an agent tool whose agent is not known. */
function isGatable(tool: Tool<unknown>): boolean {
  return tool.type === 'function' || (isActionTool(tool) && !isUngatable(tool))
}

function gateTool(tool: Tool<unknown>, gate: Gate): void {
  if (tool.type === 'function') {
    const functionTool = tool as unknown as FunctionTool<unknown, ToolInputParameters>
    functionTool.inputGuardrails = withGate(functionTool.inputGuardrails, gate)
  } else if (tool.type === 'shell') gateShell(tool, gate)
  else if (tool.type === 'apply_patch') gatePatch(tool, gate)
  else if (tool.type === 'computer') gateComputer(tool, gate)
}

/** The gate before a tool that `guardedTool` did not make; undefined when there is none, or something goes past it. */
export function gateOf(tool: Tool<unknown>): Gate | undefined {
  if (tool.type === 'function')
    return gateOfGuardrails((tool as unknown as FunctionTool<unknown, ToolInputParameters>).inputGuardrails)
  if (tool.type === 'shell') return tool.shell && gateOfMethods(tool.shell, SHELL_METHODS)
  if (tool.type === 'apply_patch') return gateOfMethods(tool.editor, EDITOR_METHODS)
  return tool.type === 'computer' ? gateOfComputer(tool) : undefined
}

export function gateOfServer(server: MCPServer): Gate | undefined {
  return gateOfGuardrails(server.toolInputGuardrails)
}

/** True when it asks this guard, as far as that is known before a call: a surface per MCP tool is not. */
export function asks(gate: Gate, guard: Guard, toolName: string | undefined): boolean {
  return toolName === undefined || gate.surfaceOf(toolName).guard === guard
}
