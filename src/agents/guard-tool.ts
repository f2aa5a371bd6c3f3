import {
  ToolGuardrailFunctionOutputFactory,
  type FunctionCallItem,
  type FunctionTool,
  type ToolInputGuardrailData,
  type ToolInputGuardrailDefinition,
  type ToolInputParameters,
} from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import type { HoldPoint } from '../guard/guard.ts'
import { refusalOf } from '../guard/refusal.ts'
import type { Surface } from '../guard/surface.ts'
import { isAgentTool } from './agent-graph.ts'
import { gateBehind, misplaced, newGate, rememberGate, type Gate } from './gates.ts'
import { boundApproval, functionToolOf } from './hosted/bound-approval.ts'
import { refusedAnswer } from './model-text.ts'
import { applyOnDenied } from './on-denied.ts'
import { refuseSecondSurface } from './second-surface.ts'
import { currentSession, type AnyAgent, type Session } from './session.ts'
import type { OnDenied } from './tool-answer.ts'
import { isGuarded } from './tool-core.ts'
import { traceQuestion } from './trace.ts'

/** What `guardTool` takes, beside the tool and its place. */
export interface GuardToolOptions {
  /** What a refused permission does to the run. Default `tell`. */
  readonly onDenied?: OnDenied
}

/**
 * Gates a function tool that somebody else made, `agent.asTool()` included: in place, once, at the `tool` boundary.
 * The first step of an adoption, and a smaller promise than `guardedTool` gives: the SDK starts the body a few
 * microtasks after the verdict, a direct `invoke` goes past it, and its effects are not journalled. A stop that is pushed
 * while it runs ends it only with its run, and is told as settled without it. The gate stands after the tool's own input
 * guardrails: gate the tool again when some were added since. The agent behind an agent tool is not gated, nor are tools
 * of other kinds: `guardAgent` does both. Gives the tool back. Throws `GUARD_MISCONFIGURED` for a tool that is gated on
 * another surface, or of another guard: it has one gate.
 */
export function guardTool<Tool extends { readonly type: string; readonly name: string }>(
  tool: Tool,
  surface: Surface,
  options: GuardToolOptions = {},
): Tool {
  if (isGuarded(tool)) return tool
  if (tool.type !== 'function') {
    throw new GuardMisconfiguredError(
      `Tool "${tool.name}" is a ${tool.type} tool: alone only function tools can be gated. ` +
        'Gate it with the agent that uses it: guardAgent(agent, surface).',
    )
  }
  const functionTool = tool as unknown as FunctionTool<unknown, ToolInputParameters>
  const gate = newGate(surface, { onDenied: options.onDenied ?? 'tell', madeBy: 'guardTool' })
  for (const present of gatesOfGuardrails(functionTool.inputGuardrails))
    refuseSecondSurface(`Tool "${tool.name}"`, { present: present.surfaceOf(tool.name), wanted: surface })
  functionTool.inputGuardrails = withGate(functionTool.inputGuardrails, gate)
  return tool
}

type Guardrails = readonly ToolInputGuardrailDefinition<unknown>[] | undefined

/**
 * The guardrails and, last, one gate: the SDK runs them in order, and none of them may take its time between the
 * verdict and the body (G3). A gate that is there already stays the one.
 */
export function withGate(guardrails: Guardrails, gate: Gate): ToolInputGuardrailDefinition<unknown>[] {
  const all = guardrails ?? []
  const own = all.filter((guardrail) => gateBehind(guardrail) === undefined)
  const present = all.find((guardrail) => gateBehind(guardrail) !== undefined)
  return [...own, present ?? guardrailOf(gate)]
}

/** The gates among these, wherever they stand. */
export function gatesOfGuardrails(guardrails: Guardrails): readonly Gate[] {
  return (guardrails ?? []).flatMap((guardrail) => gateBehind(guardrail) ?? [])
}

/** The gate that stands right before the body. */
export function gateOfGuardrails(guardrails: Guardrails): Gate | undefined {
  return gateBehind(guardrails?.at(-1))
}

function guardrailOf(gate: Gate): ToolInputGuardrailDefinition<unknown> {
  const guardrail: ToolInputGuardrailDefinition<unknown> = {
    type: 'tool_input',
    name: 'holdpoint',
    run: (call) => askFor(call, gate),
  }
  rememberGate(guardrail, gate)
  return guardrail
}

async function askFor({ context, agent, toolCall }: ToolInputGuardrailData<unknown>, gate: Gate) {
  const surface = gate.surfaceOf(toolCall.name)
  const session = currentSession()
  const { guard } = surface
  guard.observe(traceQuestion)
  const at: HoldPoint = {
    surface,
    boundary: 'tool',
    tool: toolCall.name,
    callId: toolCall.callId,
    runId: session?.runId,
    signal: session?.signal,
  }
  const caller = agent as AnyAgent
  const code =
    misplaced(gate, surface, session !== undefined) ??
    (await unclaimed(session, caller, toolCall)) ??
    (await boundApproval({ surface, agent: caller, context, toolCall }))
  // G2: the permit is used up here, so that nothing else can start on it.
  const outcome =
    code === undefined
      ? await guard.run(at, () => undefined)
      : { allowed: false as const, decision: guard.denyNow(at, code) }
  if (outcome.allowed) return ToolGuardrailFunctionOutputFactory.allow()
  const answer = refusedAnswer(refusalOf(outcome.decision), { onDenied: gate.onDenied })
  applyOnDenied(answer, caller, context, toolCall.callId)
  return ToolGuardrailFunctionOutputFactory.rejectContent(answer.output)
}

/** What the agent behind an agent tool does passes gates of its own. */
async function unclaimed(session: Session | undefined, agent: AnyAgent, { callId, name }: FunctionCallItem) {
  const tool = functionToolOf(agent, name)
  const again = tool !== undefined && isAgentTool(tool) ? 'harmless' : 'repeated'
  return (await session?.hosted?.mayStart({ callId, again })) === false ? 'CALL_ABORTED' : undefined
}
