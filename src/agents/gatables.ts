import type { FunctionTool, Tool, ToolInputParameters } from '@openai/agents'
import { isActionTool } from './action-call.ts'
import { gateComputer, gateOfComputer, gatesOfComputer } from './gate-computer.ts'
import { gateHandoff, HANDOFF_METHODS, handoffsOf, type AnyHandoff } from './gate-handoff.ts'
import { EDITOR_METHODS, gatePatch } from './gate-patch.ts'
import { gateShell, SHELL_METHODS } from './gate-shell.ts'
import { gateOfMethods, gatesOfMethods, type Gate } from './gates.ts'
import { gateOfGuardrails, gatesOfGuardrails, withGate } from './guard-tool.ts'
import { fixedMethod } from './in-place.ts'
import type { AnyAgent } from './session.ts'
import { isGuarded } from './tool-core.ts'
import { isUngatable } from './ungatable.ts'

/** Something of an agent that runs here and has a seat for a gate. MCP servers are apart: their tools have many names. */
export interface Gatable {
  /** For messages. */
  readonly what: string
  /** What the model calls it, and its surface is chosen by. */
  readonly name: string
  /** Where the gate sits. Two tools can share one, such as a shell. */
  readonly seat: object
  /** Those that stand there already, whether or not something goes past them. */
  readonly gates: readonly Gate[]
  readonly put: (gate: Gate) => void
}

/** What `guardedTool` made needs no gate. */
export function gatablesOf(agent: AnyAgent): Gatable[] {
  const tools = agent.tools.filter((tool) => !isGuarded(tool) && isGatable(tool))
  return [
    ...tools.map((tool) => ({
      what: `Tool "${tool.name}"`,
      name: tool.name,
      seat: seatOf(tool),
      gates: gatesOf(tool),
      put: (gate: Gate) => gateTool(tool, gate),
    })),
    ...handoffsOf(agent)
      .filter(isOpen)
      .map((handoff) => ({
        what: `Handoff "${handoff.toolName}"`,
        name: handoff.toolName,
        seat: handoff,
        gates: gatesOfMethods(handoff, HANDOFF_METHODS),
        put: (gate: Gate) => gateHandoff(handoff, gate),
      })),
  ]
}

/** What was let through by name may still be gated at its own seat: an agent tool whose agent is not known. */
function isGatable(tool: Tool<unknown>): boolean {
  return tool.type === 'function' || (isActionTool(tool) && !isUngatable(tool))
}

/** A frozen one that was let through by name has no seat. */
function isOpen(handoff: AnyHandoff): boolean {
  return fixedMethod(handoff, HANDOFF_METHODS) === undefined
}

type AnyFunctionTool = FunctionTool<unknown, ToolInputParameters>

function gateTool(tool: Tool<unknown>, gate: Gate): void {
  if (tool.type === 'function') {
    const functionTool = tool as unknown as AnyFunctionTool
    functionTool.inputGuardrails = withGate(functionTool.inputGuardrails, gate)
  } else if (tool.type === 'shell') gateShell(tool, gate)
  else if (tool.type === 'apply_patch') gatePatch(tool, gate)
  else if (tool.type === 'computer') gateComputer(tool, gate)
}

function seatOf(tool: Tool<unknown>): object {
  if (tool.type === 'shell') return tool.shell ?? tool
  if (tool.type === 'apply_patch') return tool.editor
  return tool.type === 'computer' ? tool.computer : tool
}

function gatesOf(tool: Tool<unknown>): readonly Gate[] {
  if (tool.type === 'function') return gatesOfGuardrails((tool as unknown as AnyFunctionTool).inputGuardrails)
  if (tool.type === 'shell') return tool.shell === undefined ? [] : gatesOfMethods(tool.shell, SHELL_METHODS)
  if (tool.type === 'apply_patch') return gatesOfMethods(tool.editor, EDITOR_METHODS)
  return tool.type === 'computer' ? gatesOfComputer(tool) : []
}

/** The gate before a tool that `guardedTool` did not make; undefined when there is none, or something goes past it. */
export function gateOf(tool: Tool<unknown>): Gate | undefined {
  if (tool.type === 'function') return gateOfGuardrails((tool as unknown as AnyFunctionTool).inputGuardrails)
  if (tool.type === 'shell') return tool.shell && gateOfMethods(tool.shell, SHELL_METHODS)
  if (tool.type === 'apply_patch') return gateOfMethods(tool.editor, EDITOR_METHODS)
  return tool.type === 'computer' ? gateOfComputer(tool) : undefined
}
