import { GuardMisconfiguredError } from '../errors.ts'
import { startCall, type ActiveCall, type CallOutcome, type EffectReport } from '../guard/call.ts'
import { effectFunctions, type DeclaredEffects, type EffectFunctions } from '../guard/declared-effects.ts'
import type { Checked, HoldPoint } from '../guard/guard.ts'
import { CallRefusedError, refusalOf, type Refusal } from '../guard/refusal.ts'
import type { Surface } from '../guard/surface.ts'
import type { Spot } from '../guard/spot.ts'

/** What the body of a unit of work gets. Its effects exist nowhere else. */
export interface UnitWork<E extends DeclaredEffects> {
  /**
   * Aborted when a stop reaches this unit, at a shutdown, and when its loop is closed; a consumer that is closed lets its
   * messages end. A body that gives up then must throw (`signal.throwIfAborted()`), for the unit to be given again: one
   * that returns is done.
   */
  readonly signal: AbortSignal
  /** The same each time this unit is delivered. */
  readonly unitId: string
  /** Each asks again right before it happens, and happens once per key. */
  readonly effects: EffectFunctions<E>
  /**
   * One more hold point, before what costs much or lasts long (a batch, a fan-out, a recursion): starts `part` only on a
   * fresh allow, on `surface` if one is named. Throws when denied, and the unit is denied whatever the body makes of it.
   */
  readonly enter: <T>(
    name: string,
    part: (work: { readonly signal: AbortSignal }) => T | Promise<T>,
    surface?: Surface,
  ) => Promise<T>
}

/** How a unit of work ended. */
export type UnitOutcome<T> =
  { readonly state: 'done'; readonly value: T; readonly effects: readonly EffectReport[] } | UnfinishedOutcome

/** How a unit ended that did not end well. */
export type UnfinishedOutcome =
  /** Permission was refused, or could not be asked for: before the body, or within it. The unit may be given again later. */
  | (Unfinished & { readonly state: 'denied' })
  /** The body gave up because a stop, a shutdown or a close aborted its signal. The unit may be given again later. */
  | (Unfinished & { readonly state: 'interrupted'; readonly thrown: unknown })
  /** The body threw `thrown`, or the program has a mistake that no restore heals. */
  | (Unfinished & { readonly state: 'failed'; readonly thrown: unknown })
  /** Whether an effect happened is not known, or another process is at it. A person must look, or `reconcile`. */
  | (Unfinished & { readonly state: 'unknown' })

interface Unfinished {
  readonly refusal: Refusal
  readonly effects: readonly EffectReport[]
  /** Whether any effect of the unit happened. */
  readonly executed: boolean | 'unknown'
}

export interface UnitRequest<Unit, E extends DeclaredEffects, T> {
  readonly spot: Spot<Unit>
  readonly name: string
  readonly unit: Unit
  /** Tells units apart, and is the same when one is delivered again. Undefined: each is one of its own. */
  readonly unitId: string | undefined
  /** For a unit without an id that may be started again in this process. */
  readonly fallbackUnitId?: string | undefined
  readonly effects: E
  readonly signal?: AbortSignal | undefined
  /** What its hold point answered, where it was asked before there was a unit. Default: asked now. */
  readonly checked?: Checked | undefined
  readonly body: (work: UnitWork<E>) => T | Promise<T>
}

/** One unit of work: a hold point at `task`, then the body. Never rejects. */
export async function runUnit<Unit, E extends DeclaredEffects, T>(
  request: UnitRequest<Unit, E, T>,
): Promise<UnitOutcome<T>> {
  const { spot, name, unit, unitId, fallbackUnitId, signal, effects, checked } = request
  const surface = spot.surfaceOf(unit)
  if (surface === undefined) return unplaced(request)
  let aborted: AbortSignal | undefined
  const body = (active: ActiveCall) => {
    aborted = active.signal
    // Whoever gave the unit has it too, and a change of it must not lead past the stop of another surface (G1).
    if (spot.surfaceOf(unit) !== surface)
      throw new GuardMisconfiguredError(
        `"${name}": what chooses its surface was changed while permission was asked for. Leave a unit as it was given.`,
      )
    return request.body({
      signal: active.signal,
      unitId: unitId || active.callId,
      effects: effectFunctions(effects, active),
      enter: (part, run, at) => active.enter(part, run, at),
    })
  }
  const { guard } = spot
  const boundary = 'task'
  const call = {
    surface,
    boundary,
    tool: name,
    callId: unitId ? `${escaped(name)}:${unitId}` : undefined,
    fallbackCallId: fallbackUnitId,
    signal,
  } as const
  const outcome = await (checked === undefined
    ? guard.call(call, body)
    : startCall(guard, { call, checked, body }))
  if (outcome.ok) return { state: 'done', value: outcome.value, effects: outcome.effects }
  return unfinishedOf(outcome, aborted?.aborted === true)
}

/**
 * Two gates may number alike: an effect keyed by the call must not take one's unit for the other's. So the name ends at the
 * first colon, whatever stands in the two.
 */
const escaped = (name: string): string => name.replaceAll(/[%:]/g, encodeURIComponent)

/** Denials that come from the program itself: asking again would deny them for ever. */
const MISTAKES = new Set<string>(['GUARD_MISCONFIGURED', 'CALL_ID_REQUIRED', 'LATE_COMMIT'])

function unfinishedOf(outcome: CallOutcome<never> & { ok: false }, aborted: boolean): UnfinishedOutcome {
  const { refusal, executed, effects } = outcome
  const unfinished = { refusal, executed, effects }
  const thrown = outcome.thrown ?? new CallRefusedError(refusal)
  const broken = { state: aborted ? 'interrupted' : 'failed', ...unfinished, thrown } as const
  if (MISTAKES.has(refusal.code)) return broken
  switch (refusal.error) {
    case 'permission_denied':
    case 'permission_check_unavailable':
    case 'approval_required':
      return { state: 'denied', ...unfinished }
    case 'in_progress':
    case 'outcome_unknown':
      return { state: 'unknown', ...unfinished }
    case 'effect_key_conflict':
    case 'tool_failed':
      return broken
  }
}

/** A unit whose surface cannot be chosen is on none that an operator could stop, so it does not start (G4). */
function unplaced({ spot, name, unitId }: Unplaced): UnfinishedOutcome {
  const { guard, unchosen: surface } = spot
  guard.log.error({ tool: name, call_id: unitId }, 'the surface chosen for this unit is not declared')
  const at: HoldPoint = { surface, boundary: 'task', tool: name, callId: unitId }
  const refusal = refusalOf(guard.denyNow(at, 'GUARD_MISCONFIGURED'))
  return { state: 'failed', refusal, effects: [], executed: false, thrown: new CallRefusedError(refusal) }
}

interface Unplaced {
  readonly spot: Pick<Spot<never>, 'guard' | 'unchosen'>
  readonly name: string
  readonly unitId: string | undefined
}
