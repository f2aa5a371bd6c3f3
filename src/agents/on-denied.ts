import {
  ToolGuardrailFunctionOutputFactory,
  type FunctionCallItem,
  type FunctionToolResult,
  type RunContext,
  type ToolInputGuardrailDefinition,
  type ToolsToFinalOutputResult,
  type ToolToFinalOutputFunction,
  type ToolUseBehavior,
} from '@openai/agents'
import { matchesFunctionToolName, toSmartString } from '@openai/agents/utils'
import { GuardDeniedError } from './guard-denied.ts'
import type { RefusedAnswer } from './model-text.ts'
import { currentSession, type AnyAgent } from './session.ts'

const callingAgents = new WeakMap<FunctionCallItem, AnyAgent>()

/** `execute` is not told which agent calls it; a guardrail is, and gets the very same tool call. It lets all pass. */
export const rememberCallingAgent: ToolInputGuardrailDefinition<unknown> = {
  type: 'tool_input',
  name: 'holdpoint',
  run: async ({ agent, toolCall }) => {
    callingAgents.set(toolCall, agent as AnyAgent)
    return ToolGuardrailFunctionOutputFactory.allow()
  },
}

/** Undefined where no run of the SDK is behind the call. */
export function callingAgent(toolCall: FunctionCallItem | undefined): AnyAgent | undefined {
  return toolCall === undefined ? undefined : callingAgents.get(toolCall)
}

interface Stop {
  readonly callId: string
  readonly denial: GuardDeniedError
}

/** The stops of plain runs that have not ended their run yet. An agent and the agents it uses share a run context. */
const stops = new WeakMap<object, Stop[]>()

/**
 * Before each model call of a plain run, as far as a tool is asked then: a stopped run goes no further. It still went
 * on where the turn of the stop could not be the last, because a handoff or a pending approval takes precedence.
 */
export function beforeTurn(runContext: RunContext<unknown>): void {
  const stop = stops.get(runContext)?.shift()
  if (stop !== undefined) throw stop.denial
}

/**
 * Does to the run what `on_denied` says. `abort` throws; `stop` makes this turn the last one, with the outputs of all
 * its tools. An agent with an `outputType` cannot end on a refusal: in a plain run `stop` aborts it.
 */
export function applyOnDenied(
  { body }: RefusedAnswer,
  agent: AnyAgent,
  runContext: RunContext<unknown>,
  callId: string,
): void {
  if (body.on_denied === 'tell') return
  const session = currentSession()
  const denial = new GuardDeniedError(body)
  if (body.on_denied === 'abort' || (session === undefined && agent.outputType !== 'text')) {
    session?.abort(denial)
    throw denial
  }
  endAfterTurn(agent)
  if (session === undefined) stops.set(runContext, [...(stops.get(runContext) ?? []), { callId, denial }])
  session?.stop(denial)
  session?.agents.forEach(endAfterTurn)
}

const stopping = new WeakSet<ToolUseBehavior & object>()

/** In place and once. In every other run and turn the agent's own behaviour decides. */
function endAfterTurn(agent: AnyAgent): void {
  const own = agent.toolUseBehavior
  if (typeof own === 'function' && stopping.has(own)) return
  const behavior: ToolToFinalOutputFunction = async (runContext, results) => {
    const denial = currentSession()?.denial ?? takeStop(runContext, results)
    if (denial === undefined) return ownBehavior(own, runContext, results)
    return { isFinalOutput: true, isInterrupted: undefined, finalOutput: JSON.stringify(denial.body) }
  }
  stopping.add(behavior)
  agent.toolUseBehavior = behavior
}

function takeStop(
  runContext: RunContext<unknown>,
  results: FunctionToolResult[],
): GuardDeniedError | undefined {
  const pending = stops.get(runContext) ?? []
  const callIds = new Set(
    results.map(({ runItem: { rawItem } }) => ('callId' in rawItem ? rawItem.callId : undefined)),
  )
  stops.set(
    runContext,
    pending.filter(({ callId }) => !callIds.has(callId)),
  )
  return pending.find(({ callId }) => callIds.has(callId))?.denial
}

const GO_ON: ToolsToFinalOutputResult = { isFinalOutput: false, isInterrupted: undefined }

/** What the SDK does with each kind of `toolUseBehavior`. */
async function ownBehavior(
  own: ToolUseBehavior,
  runContext: RunContext,
  results: FunctionToolResult[],
): Promise<ToolsToFinalOutputResult> {
  if (own === 'run_llm_again') return GO_ON
  if (typeof own === 'function') return own(runContext, results)
  const last =
    own === 'stop_on_first_tool'
      ? results[0]
      : results.find(({ tool }) => own.stopAtToolNames.some((name) => matchesFunctionToolName(tool, name)))
  if (last?.type !== 'function_output') return GO_ON
  return { isFinalOutput: true, isInterrupted: undefined, finalOutput: toSmartString(last.output) }
}
