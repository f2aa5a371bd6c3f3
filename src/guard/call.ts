import { messageOf } from '../errors.ts'
import { Commits, type Committed } from './commit.ts'
import type { Allowed, Boundary } from './decision.ts'
import { EffectNotPerformed, type Effect } from './effect.ts'
import type { EffectCall } from './attempt.ts'
import type { Checked, Guard, HoldPoint } from './guard.ts'
import { enterPart } from './enter.ts'
import { underOf, type Work } from './in-flight.ts'
import type { ApprovalUse, RunFence } from './journal.ts'
import { CallRefusedError, refusalOf, type Refusal } from './refusal.ts'
import type { Surface } from './surface.ts'

/** What one guarded call is: where it stands, what it is called, and who asks for it. */
export interface CallRequest<Context = unknown> {
  readonly surface: Surface
  readonly tool: string
  /** Default `tool`. */
  readonly boundary?: Boundary
  /** As the caller gave it; absent where the transport brings none. Never trusted across callers. */
  readonly callId?: string | undefined
  /** An id for a call that brings none, so that a repeat within this process is known as one. It does not count as given. */
  readonly fallbackCallId?: string | undefined
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

/** How a guarded call ended: with a value, or refused. It is never thrown. */
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
      /** With `TOOL_FAILED` and `EFFECT_NOT_PERFORMED`: what the body threw. For the program only: it may hold anything. */
      readonly thrown?: unknown
    }

/** What the body of a guarded call works with. */
export interface ActiveCall<Context = unknown> {
  readonly signal: AbortSignal
  readonly callId: string
  readonly runId: string | undefined
  /**
   * The only way to an effect: stores the intent, asks again at `side_effect`, runs it, stores the outcome.
   * Throws `CallRefusedError` when it was not allowed, and `EffectNotPerformed` when it surely did not happen.
   * If the process dies in between, the outcome is unknown and is not repeated blindly. `input` must be something that JSON
   * shows, as a `Set` is not, and stay as it is until the effect has it: otherwise it is denied `GUARD_MISCONFIGURED`.
   */
  commit<Input, Result>(effect: Effect<Input, Result, Context>, input: Input): Promise<Committed<Result>>
  /**
   * One more hold point within the call, before what costs much or lasts long (a batch, a fan-out, a recursion): asks at
   * `task`, and starts `part` only on a fresh allow. `surface`: default the call's. Throws `CallRefusedError` when it was
   * not allowed, which refuses the whole call.
   */
  enter<T>(name: string, part: (work: Work) => T | Promise<T>, surface?: Surface): Promise<T>
}

/** See `Guard.call`. */
export async function guardCall<T, Context>(
  guard: Guard,
  request: CallRequest<Context>,
  body: (call: ActiveCall<Context>) => T | Promise<T>,
): Promise<CallOutcome<T>> {
  const call = identified(request)
  return startIdentified(guard, { call, checked: await guard.check(holdPointOf(call)), body })
}

type IdentifiedCall<Context> = CallRequest<Context> & EffectCall

function identified<Context>(request: CallRequest<Context>): IdentifiedCall<Context> {
  const { callId, fallbackCallId } = request
  // An empty id tells no call from another.
  if (callId !== undefined && callId !== '') return { ...request, callId, callIdGiven: true }
  return { ...request, callId: fallbackCallId ?? `call_${crypto.randomUUID()}`, callIdGiven: false }
}

function holdPointOf({ surface, boundary = 'tool', tool, callId, runId, signal }: CallRequest): HoldPoint {
  return { surface, boundary, tool, callId, runId, signal }
}

export interface CheckedCall<T, Context> {
  readonly call: CallRequest<Context>
  /** What its hold point answered, asked for this call and used for nothing else (G2). */
  readonly checked: Checked
  readonly body: (call: ActiveCall<Context>) => T | Promise<T>
}

/** A call whose hold point has been asked already. Starts `body` in this tick, or not at all (G3). Never rejects. */
export function startCall<T, Context>(
  guard: Guard,
  { call, ...answered }: CheckedCall<T, Context>,
): Promise<CallOutcome<T>> {
  return startIdentified(guard, { call: identified(call), ...answered })
}

async function startIdentified<T, Context>(
  guard: Guard,
  { call, checked, body }: CheckedCall<T, Context> & { readonly call: IdentifiedCall<Context> },
): Promise<CallOutcome<T>> {
  if (!checked.allowed) return refused(refusalOf(checked.decision), [])
  guard.reach('call.allowed')
  const { surface, callId, runId, signal } = call
  const at = holdPointOf(call)
  const commits = new Commits(guard, call, checked.decision)
  const started = checked.permit.start(() =>
    guard.track(
      signal,
      async (work) => {
        const active: ActiveCall<Context> = {
          signal: work.signal,
          callId,
          runId,
          commit: (effect, input) => commits.commit(effect, input, work),
          enter: (name, part, partSurface = surface) =>
            enterPart(guard, commits, {
              at: { ...at, surface: partSurface, boundary: 'task', tool: name },
              part,
              within: work,
            }),
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
  if ('thrown' in ended) {
    const { thrown } = ended
    return { ...refused(failure(guard, at, thrown, checked.decision), commits.reports), thrown }
  }
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

function refused(refusal: Refusal, effects: readonly EffectReport[]): CallOutcome<never> & { ok: false } {
  return { ok: false, refusal, effects, executed: executedOf(effects) }
}

/** Whether anything has happened outside. */
function executedOf(effects: readonly EffectReport[]): boolean | 'unknown' {
  const states = new Set(effects.map((effect) => effect.state))
  if (states.has('unknown') || states.has('in_progress')) return 'unknown'
  return states.has('done') || states.has('replayed')
}
