import {
  ToolGuardrailFunctionOutputFactory,
  type FunctionTool,
  type ToolInputGuardrailData,
  type ToolInputGuardrailDefinition,
  type ToolInputParameters,
} from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import { refusalOf } from '../guard/refusal.ts'
import type { Surface } from '../guard/surface.ts'
import { refusedAnswer } from './model-text.ts'
import { applyOnDenied } from './on-denied.ts'
import { currentSession, type AnyAgent } from './session.ts'
import type { OnDenied } from './tool-answer.ts'
import { isGuarded } from './tool-core.ts'
import { traceQuestion } from './trace.ts'

export interface GuardToolOptions {
  /** What a refused permission does to the run. Default `tell`. */
  readonly onDenied?: OnDenied
}

const gates = new WeakSet<object>()

/**
 * Gates a function tool that somebody else made, `agent.asTool()` included: in place, once, at the `tool` boundary.
 * The first step of an adoption, and a smaller promise than `guardedTool` gives: the SDK starts the body a few
 * microtasks after the verdict, a direct `invoke` goes past it, and its effects are not journalled. The gate stands
 * after the tool's own input guardrails: gate the tool again when some were added since. Gives the tool back.
 */
export function guardTool<Tool extends { readonly type: string; readonly name: string }>(
  tool: Tool,
  surface: Surface,
  options: GuardToolOptions = {},
): Tool {
  if (isGuarded(tool)) return tool
  if (tool.type !== 'function') {
    throw new GuardMisconfiguredError(
      `Tool "${tool.name}" is a ${tool.type} tool: only function tools can be gated. ` +
        'Leave it out, or let it through by name: guardAgent(agent, surface, { allowUngated: [name] }).',
    )
  }
  const functionTool = tool as unknown as FunctionTool<unknown, ToolInputParameters>
  functionTool.inputGuardrails = withGate(functionTool.inputGuardrails, () => surface, options)
  return tool
}

/**
 * The guardrails and, last, one gate: the SDK runs them in order, and none of them may take its time between the
 * verdict and the body (G3).
 */
export function withGate(
  guardrails: readonly ToolInputGuardrailDefinition<unknown>[] | undefined,
  surfaceOf: (toolName: string) => Surface,
  { onDenied = 'tell' }: GuardToolOptions,
): ToolInputGuardrailDefinition<unknown>[] {
  const all = guardrails ?? []
  const own = all.filter((guardrail) => !gates.has(guardrail))
  const present = all.find((guardrail) => gates.has(guardrail))
  if (present !== undefined) return [...own, present]
  const gate: ToolInputGuardrailDefinition<unknown> = {
    type: 'tool_input',
    name: 'holdpoint',
    run: (call) => askFor(call, surfaceOf(call.toolCall.name), onDenied),
  }
  gates.add(gate)
  return [...own, gate]
}

async function askFor(
  { context, agent, toolCall }: ToolInputGuardrailData<unknown>,
  surface: Surface,
  onDenied: OnDenied,
) {
  const session = currentSession()
  const { guard } = surface
  guard.observe(traceQuestion)
  const at = {
    surface,
    boundary: 'tool',
    tool: toolCall.name,
    callId: toolCall.callId,
    runId: session?.runId,
    signal: session?.signal,
  } as const
  // G2: the permit is used up here, so that nothing else can start on it.
  const outcome = await guard.run(at, () => undefined)
  if (outcome.allowed) return ToolGuardrailFunctionOutputFactory.allow()
  const answer = refusedAnswer(refusalOf(outcome.decision), { onDenied })
  applyOnDenied(answer, agent as AnyAgent, context, toolCall.callId)
  return ToolGuardrailFunctionOutputFactory.rejectContent(answer.output)
}
