import { messageOf } from '../errors.ts'
import type { CallOutcome, EffectReport } from '../guard/call.ts'
import { localRequestId } from '../guard/decision.ts'
import type { Refusal } from '../guard/refusal.ts'
import type { Surface } from '../guard/surface.ts'
import type { OnDenied, RefusalBody, ToolAnswer } from './tool-answer.ts'

export interface RefusalDetails {
  readonly effects?: readonly EffectReport[]
  readonly executed?: boolean | 'unknown'
  /** What the tool asks for when permission is refused; every other refusal tells. */
  readonly onDenied: OnDenied
}

/**
 * Only a refused or unavailable permission ends a run: a tool that failed or is in progress does not, and a call that
 * its caller gave up has no run to end.
 */
function endsRun({ error, code }: Refusal): boolean {
  const isPermission = error === 'permission_denied' || error === 'permission_check_unavailable'
  return isPermission && code !== 'CALL_ABORTED'
}

export function refusalBody(refusal: Refusal, details: RefusalDetails): RefusalBody {
  const { error, code, boundary, deviceId, requestId, message } = refusal
  return {
    error,
    code,
    boundary,
    device_id: deviceId,
    request_id: requestId,
    executed: details.executed ?? false,
    effects: details.effects ?? [],
    on_denied: endsRun(refusal) ? details.onDenied : 'tell',
    retryable: false,
    message,
  }
}

export type RefusedAnswer = Extract<ToolAnswer, { kind: 'refused' }>

export function refusedAnswer(refusal: Refusal, details: RefusalDetails): RefusedAnswer {
  const body = refusalBody(refusal, details)
  return { kind: 'refused', output: JSON.stringify(body), body }
}

export interface Failure {
  readonly surface: Surface
  readonly tool: string
  readonly callId: string | undefined
  readonly code: 'TOOL_FAILED' | 'TOOL_TIMEOUT'
  readonly executed: boolean | 'unknown'
  readonly cause?: unknown
}

/** A failure outside the guard's own call: logged, with nothing in it that a model must not see. */
export function failedAnswer({ surface, tool, callId, code, executed, cause }: Failure): RefusedAnswer {
  const requestId = localRequestId()
  const err = cause === undefined ? undefined : messageOf(cause)
  surface.guard.log.error({ tool, call_id: callId, request_id: requestId, code, err }, 'tool failed')
  const deviceId = surface.deviceIds.at(-1) as string
  const refusal = { error: 'tool_failed', code, boundary: 'tool', deviceId, requestId } as const
  return refusedAnswer({ ...refusal, message: FAILURES[code] }, { onDenied: 'tell', executed })
}

const FAILURES = {
  TOOL_FAILED: 'The tool failed. The error was logged.',
  TOOL_TIMEOUT: 'The tool took too long. What it had started may still happen; do not repeat it blindly.',
}

export function answerOf(outcome: CallOutcome<unknown>, onDenied: OnDenied): ToolAnswer {
  if (!outcome.ok) {
    const { refusal, effects, executed } = outcome
    return refusedAnswer(refusal, { effects, executed, onDenied })
  }
  const { value, replayed, effects, decision } = outcome
  const output = replayed ? replayedText(effects, value) : valueText(value)
  return { kind: 'output', output, replayed, requestId: decision.requestId }
}

export function badArgumentsAnswer(issues: readonly string[]): ToolAnswer {
  const message = 'These arguments do not fit the tool, so nothing was done. Correct them and call it again.'
  return {
    kind: 'bad_arguments',
    issues,
    output: JSON.stringify({ error: 'bad_arguments', message, issues }),
  }
}

/** The mark stays also on a result that JSON cannot hold. */
function replayedText(effects: readonly EffectReport[], value: unknown): string {
  return (
    tryJson({ replayed: true, effects, result: value }) ??
    JSON.stringify({ replayed: true, effects, result: 'cannot be shown' })
  )
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined) return 'Done.'
  // It has happened by now, so a result that JSON cannot hold must not look like a failure.
  return tryJson(value) ?? 'Done. The result cannot be shown.'
}

function tryJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
