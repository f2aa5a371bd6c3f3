import {
  MaxTurnsExceededError,
  ModelBehaviorError,
  ToolCallError,
  type AgentOutputType,
  type RunToolApprovalItem,
} from '@openai/agents'
import { GuardMisconfiguredError, messageOf } from '../../errors.ts'
import type { Driven } from '../run-agent.ts'
import { serializeState } from '../run-state-text.ts'
import type { RefusalBody } from '../tool-answer.ts'
import type { Execution } from './execution.ts'
import type { RunProblem, RunSave } from './run-store.ts'

/** How a run pauses or ends, before anything is sealed. */
export interface RunEnd {
  readonly status: RunSave['status']
  readonly resumable: boolean
  /** To go on from. */
  readonly state?: string
  /** With `completed`. */
  readonly output?: unknown
  readonly denial?: RunSave['denial']
  readonly problem?: RunProblem
  /** The calls that wait. */
  readonly waiting: readonly RunToolApprovalItem[]
  /** For the log only. */
  readonly thrown?: unknown
}

type AnyDriven = Driven<unknown, AgentOutputType>

/** Undefined when nothing of this part may be kept: the run goes back to what it was before it. */
export function endOf(driven: AnyDriven, execution: Execution): RunEnd | undefined {
  const { session, result, failure } = driven
  const ending = execution.signal.aborted ? execution.ending : undefined
  if (ending === 'lost') return undefined
  if (ending === 'cancelled') return { status: 'cancelled', resumable: false, waiting: [] }
  const denial = session.denial?.body
  const isShutdown = ending === 'shutdown' || denial?.code === 'GUARD_SHUTTING_DOWN'
  if (isShutdown && !session.isStopped) return shutdownEnd(driven, execution)
  if (denial !== undefined) return deniedEnd(denial, driven, execution)
  if (failure !== undefined) {
    return failedEnd(failure.thrown, stateToGoOnFrom(driven, execution))
  }
  return finishedEnd(result)
}

function deniedEnd(denial: RefusalBody, driven: AnyDriven, execution: Execution): RunEnd | undefined {
  // Stopped before it asked the model again: it is paused as by a shutdown, with what its calls have given.
  if (denial.boundary === 'resume') {
    const paused = shutdownEnd(driven, execution)
    return paused && { ...paused, denial }
  }
  // A tool that stops or aborts a run ends it for good.
  const state = denial.boundary === 'task' ? stateToGoOnFrom(driven, execution) : undefined
  return { status: 'denied', denial, ...goingOn(state), waiting: [] }
}

function finishedEnd(result: AnyDriven['result']): RunEnd {
  const waiting = result?.interruptions ?? []
  if (result !== undefined && waiting.length > 0) return pausedEnd(result, waiting)
  return { status: 'completed', resumable: false, output: result?.finalOutput, waiting: [] }
}

/** A context that is no object, or a state that the SDK cannot write: nobody could go on from it. */
function pausedEnd({ state }: NonNullable<AnyDriven['result']>, waiting: RunEnd['waiting']): RunEnd {
  try {
    return { status: 'interrupted', resumable: true, state: serializeState(state), waiting }
  } catch (thrown) {
    return failedEnd(thrown)
  }
}

/** It goes on from here; or from where it was before, when calls that were approved there were still at work. */
function shutdownEnd(driven: AnyDriven, execution: Execution): RunEnd | undefined {
  const waiting = driven.result?.interruptions ?? []
  const isAtWork = waiting.some(
    ({ rawItem }) => 'callId' in rawItem && execution.heldCalls.has(rawItem.callId),
  )
  const state = isAtWork ? undefined : stateToGoOnFrom(driven, execution)
  return state === undefined ? undefined : { status: 'interrupted', resumable: true, state, waiting }
}

/** With a state it can be tried again from there. */
export function failedEnd(thrown: unknown, state?: string): RunEnd {
  return { status: 'failed', problem: problemOf(thrown), thrown, ...goingOn(state), waiting: [] }
}

function goingOn(state: string | undefined): Pick<RunEnd, 'resumable' | 'state'> {
  return state === undefined ? { resumable: false } : { resumable: true, state }
}

interface StateJson {
  readonly currentStep?: { readonly type?: string }
  readonly modelResponses: readonly { readonly output: readonly Item[] }[]
  readonly generatedItems: readonly { readonly type: string; readonly rawItem?: Item }[]
}

interface Item {
  readonly type?: string
  readonly callId?: string
}

/**
 * The state as text, if the run can go on from it without doing anything twice. Calls that wait go on under their own
 * ids, which the journal knows; but a turn that was broken off while its calls ran is asked of the model anew, and would
 * come back under other ids.
 */
function stateToGoOnFrom({ result }: AnyDriven, { heldCalls }: Execution): string | undefined {
  if (result === undefined) return undefined
  let text: string
  try {
    text = serializeState(result.state)
  } catch {
    // The SDK itself finds no sense in what an error left it.
    return undefined
  }
  const json = JSON.parse(text) as StateJson
  const step = json.currentStep?.type
  if (step === 'next_step_interruption') return text
  if (step !== 'next_step_run_again') return undefined
  const answered = new Set(
    json.generatedItems.flatMap(({ type, rawItem }) =>
      type.endsWith('_output_item') && rawItem?.callId !== undefined ? [rawItem.callId] : [],
    ),
  )
  const lastCalls = json.modelResponses.at(-1)?.output.filter(({ callId }) => callId !== undefined) ?? []
  const isBrokenOff = lastCalls.some(({ callId = '' }) => heldCalls.has(callId) && !answered.has(callId))
  return isBrokenOff ? undefined : text
}

/** What the caller is told. What was thrown may hold anything: that is for the log. */
function problemOf(thrown: unknown): RunProblem {
  // Names the tools that stand in the way, and what to do.
  if (thrown instanceof GuardMisconfiguredError) return { code: thrown.code, message: thrown.message }
  if (thrown instanceof MaxTurnsExceededError) return PROBLEMS.MAX_TURNS_EXCEEDED
  if (thrown instanceof ModelBehaviorError) return PROBLEMS.MODEL_MISBEHAVED
  if (thrown instanceof ToolCallError) return PROBLEMS.TOOL_CALL_FAILED
  const { name } = (thrown ?? {}) as { name?: unknown }
  if (typeof name === 'string' && name.endsWith('TripwireTriggered')) return PROBLEMS.GUARDRAIL_TRIPPED
  return PROBLEMS.RUN_FAILED
}

const problem = <Code extends string>(code: Code, message: string) => ({ code, message })

const PROBLEMS = {
  MAX_TURNS_EXCEEDED: problem(
    'MAX_TURNS_EXCEEDED',
    'The run took more turns than its agent may. Raise maxTurns of the hosted agent, then resume it.',
  ),
  MODEL_MISBEHAVED: problem(
    'MODEL_MISBEHAVED',
    'The model asked for something that its agent does not have, such as an unknown tool. Resume to ask it again.',
  ),
  TOOL_CALL_FAILED: problem('TOOL_CALL_FAILED', 'A tool ended the run. The error was logged.'),
  GUARDRAIL_TRIPPED: problem('GUARDRAIL_TRIPPED', 'A guardrail of the agent ended the run.'),
  RUN_FAILED: problem(
    'RUN_FAILED',
    'The model, or something else that the run needs, failed. The error was logged. Resume to try again.',
  ),
}

export function logText(thrown: unknown): string | undefined {
  return thrown === undefined ? undefined : messageOf(thrown)
}
