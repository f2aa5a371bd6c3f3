import { Agent, type Tool } from '@openai/agents'
import { hidesItsAgent } from './agent-graph.ts'
import { COMPUTER_METHODS, isInstance } from './gate-computer.ts'
import { HANDOFF_METHODS, handoffsOf } from './gate-handoff.ts'
import { EDITOR_METHODS } from './gate-patch.ts'
import { isLocalShell, SHELL_METHODS } from './gate-shell.ts'
import { fixedMethod } from './in-place.ts'
import type { AnyAgent } from './session.ts'

/** Something of an agent that no gate can stand before. */
export interface Ungatable {
  /** What `allowUngated` lets it through by. */
  readonly name: string
  readonly agent: string
  /** Absent for tools that run at OpenAI. */
  readonly why?: string
}

/** What of these agents cannot be gated and is not let through by name. */
export function ungatableOf(agents: readonly AnyAgent[], allowUngated: readonly string[]): Ungatable[] {
  return agents
    .flatMap((agent) => [...agent.tools.flatMap((tool) => ungatableTool(agent, tool)), ...beyondTools(agent)])
    .filter(({ name }) => !allowUngated.includes(name))
}

export function isUngatable(tool: Tool<unknown>): boolean {
  return whyNot(tool) !== undefined
}

export function listed(found: readonly Ungatable[]): string {
  return found
    .map(({ name, agent, why }) => `'${name}' of agent "${agent}"${why === undefined ? '' : ` (${why})`}`)
    .join(', ')
}

/** All hosted MCP servers share one name: each is let through by its own. */
export function ungatedName(tool: Tool<unknown>): string {
  if (tool.type !== 'hosted_tool' || tool.name !== 'hosted_mcp') return tool.name
  return `hosted_mcp:${String(tool.providerData?.['server_label'])}`
}

function ungatableTool({ name: agent }: AnyAgent, tool: Tool<unknown>): Ungatable[] {
  const why = whyNot(tool)
  if (why === undefined) return []
  const found = { name: ungatedName(tool), agent }
  return [why === '' ? found : { ...found, why }]
}

/** Empty when the kind of the tool says it. */
function whyNot(tool: Tool<unknown>): string | undefined {
  switch (tool.type) {
    case 'function':
      return hidesItsAgent(tool)
        ? `which agent is behind it is not known: { innerAgents: { ${tool.name}: agent } }`
        : undefined
    case 'shell':
      return isLocalShell(tool) ? frozen(tool.shell, SHELL_METHODS) : 'its shell runs at OpenAI'
    case 'apply_patch':
      return frozen(tool.editor, EDITOR_METHODS)
    case 'computer':
      return isInstance(tool.computer) ? frozen(tool.computer, COMPUTER_METHODS) : undefined
    case 'hosted_tool':
    default:
      return ''
  }
}

function frozen(target: object | undefined, methods: readonly string[]): string | undefined {
  return target !== undefined && fixedMethod(target, methods) !== undefined ? 'it is frozen' : undefined
}

/** Tools that are not among the agent's tools. */
function beyondTools(agent: AnyAgent): Ungatable[] {
  const { name, prompt } = agent
  const found: Ungatable[] = sandboxCapabilities(agent).map((capability) => ({
    name: `sandbox:${capability}`,
    agent: name,
  }))
  for (const handoff of handoffsOf(agent)) {
    const why = frozen(handoff, HANDOFF_METHODS)
    if (why !== undefined) found.push({ name: handoff.toolName, agent: name, why })
  }
  if (agent.getAllTools !== Agent.prototype.getAllTools)
    found.push({ name: 'getAllTools', agent: name, why: 'it is not the one of the SDK' })
  if (prompt !== undefined && !agent.hasExplicitToolConfig())
    found.push({ name: 'prompt', agent: name, why: 'it may bring tools: give the agent tools, if only []' })
  return found
}

/** A sandbox agent makes its tools of these when it runs. */
function sandboxCapabilities(agent: AnyAgent): string[] {
  const capabilities = Reflect.get(agent, 'capabilities') as unknown
  if (!Array.isArray(capabilities)) return []
  return capabilities.map((one: { readonly type?: unknown }) => String(one.type))
}
