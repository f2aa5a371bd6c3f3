import { messageOf } from '../errors.ts'
import { Commits, type Committed } from './commit.ts'
import type { Allowed, Boundary } from './decision.ts'
import { EffectNotPerformed, type Effect } from './effect.ts'
import type { Guard, HoldPoint } from './guard.ts'
import { underOf } from './in-flight.ts'
import type { ApprovalUse, RunFence } from './journal.ts'
import { CallRefusedError, refusalOf, type Refusal } from './refusal.ts'
import type { Surface } from './surface.ts'

export interface CallRequest<Context = unknown> {
  readonly surface: Surface
  readonly tool: string
  /** Default `tool`. */
  readonly boundary?: Boundary
  /** As the caller gave it; absent where the transport brings none. Never trusted across callers. */
  readonly callId?: string | undefined
  readonly runId?: string | undefined
  /** Who called, as authenticated. Default `local`. */
  readonly caller?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** The app's own context, handed on to effects. */
  readonly context?: Context
  /** A person's approval of this call: its first intent uses it up. */
  readonly approval?: ApprovalUse | undefined
  /** The hosted run that it belongs to: its effects begin only while this claim holds. */
  readonly fence?: RunFence | undefined
}

export const EFFECT_ENDS = [
  'done',
  'replayed',
  'failed',
  'denied',
  'unknown',
  'in_progress',
  'conflict',
] as const

/** How an effect of the call ended. `replayed`: it was done by an earlier call, and nothing ran now. */
export interface EffectReport {
  readonly name: string
  readonly state: (typeof EFFECT_ENDS)[number]
}

export type CallOutcome<T> =
  | {
      readonly ok: true
      readonly value: T
      /** True when an effect's stored result stood in for a run. */
      readonly replayed: boolean
      readonly effects: readonly EffectReport[]
      readonly decision: Allowed
    }
  | {
      readonly ok: false
      readonly refusal: Refusal
      readonly effects: readonly EffectReport[]
      /** Whether any effect of the call happened. */
      readonly executed: boolean | 'unknown'
    }

/** What the body of a guarded call works with. */
export interface ActiveCall<Context = unknown> {
  readonly signal: AbortSignal
  readonly callId: string
  readonly runId: string | undefined
  /**
   * The only way to an effect: stores the intent, asks again at `side_effect`, runs it, stores the outcome.
   * Throws `CallRefusedError` when it was not allowed, and `EffectNotPerformed` when it surely did not happen.
   * If the process dies in between, the outcome is unknown and is not repeated blindly.
   */
  commit<Input, Result>(effect: Effect<Input, Result, Context>, input: Input): Promise<Committed<Result>>
}

/** See `Guard.call`. */
export async function guardCall<T, Context>(
  guard: Guard,
  request: CallRequest<Context>,
  body: (call: ActiveCall<Context>) => T | Promise<T>,
): Promise<CallOutcome<T>> {
  // An empty id tells no call from another.
  const callIdGiven = request.callId !== undefined && request.callId !== ''
  const callId = callIdGiven ? request.callId : `call_${crypto.randomUUID()}`
  const { surface, tool, runId, signal, boundary = 'tool' } = request
  const at: HoldPoint = { surface, boundary, tool, callId, runId, signal }
  const checked = await guard.check(at)
  if (!checked.allowed) return refused(refusalOf(checked.decision), [])
  guard.reach('call.allowed')

  const commits = new Commits(guard, { ...request, callId, callIdGiven }, checked.decision)
  const started = checked.permit.start(() =>
    guard.track(
      signal,
      async (work) => {
        const active: ActiveCall<Context> = {
          signal: work.signal,
          callId,
          runId,
          commit: (effect, input) => commits.commit(effect, input, work),
        }
        const ended = await settled(() => body(active))
        await commits.settle()
        const broken = commits.refusal !== undefined || 'thrown' in ended
        const executed = executedOf(commits.reports)
        if (executed === 'unknown') work.ends('unknown')
        else if (broken && !executed && work.signal.aborted) work.ends('aborted')
        return ended
      },
      underOf(at, checked.decision),
    ),
  )
  if (!started.started) return refused(refusalOf(started.denied), [])
  const ended = await started.value
  // A denial is sticky: whatever the body made of it, the call is refused.
  if (commits.refusal !== undefined) return refused(commits.refusal, commits.reports)
  if ('thrown' in ended) return refused(failure(guard, at, ended.thrown, checked.decision), commits.reports)
  const replayed = commits.reports.some((report) => report.state === 'replayed')
  return { ok: true, value: ended.value, replayed, effects: commits.reports, decision: checked.decision }
}

async function settled<T>(body: () => T | Promise<T>): Promise<{ value: T } | { thrown: unknown }> {
  try {
    return { value: await body() }
  } catch (thrown) {
    return { thrown }
  }
}

function failure(guard: Guard, at: HoldPoint, thrown: unknown, decision: Allowed): Refusal {
  if (thrown instanceof CallRefusedError) return thrown.refusal
  const { tool, callId, runId, boundary } = at
  const { requestId } = decision
  const deviceId = at.surface.deviceIds.at(-1) as string
  const line = { tool, call_id: callId, run_id: runId, request_id: requestId, err: messageOf(thrown) }
  // Only what the author wrote for this purpose is shown; other errors may hold anything.
  const notPerformed = thrown instanceof EffectNotPerformed
  if (notPerformed) guard.log.info(line, 'effect not performed')
  else guard.log.error(line, 'tool failed')
  const code = notPerformed ? thrown.code : 'TOOL_FAILED'
  const message = notPerformed ? messageOf(thrown) : 'The tool failed. The error was logged.'
  return { error: 'tool_failed', code, boundary, deviceId, requestId, message }
}

function refused<T>(refusal: Refusal, effects: readonly EffectReport[]): CallOutcome<T> {
  return { ok: false, refusal, effects, executed: executedOf(effects) }
}

/** Whether anything has happened outside. */
function executedOf(effects: readonly EffectReport[]): boolean | 'unknown' {
  const states = new Set(effects.map((effect) => effect.state))
  if (states.has('unknown') || states.has('in_progress')) return 'unknown'
  return states.has('done') || states.has('replayed')
}
