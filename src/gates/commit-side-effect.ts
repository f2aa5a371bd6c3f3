import { GuardMisconfiguredError } from '../errors.ts'
import type { Committed } from '../guard/commit.ts'
import { EffectNotPerformed, type Effect } from '../guard/effect.ts'
import { CallRefusedError } from '../guard/refusal.ts'
import { spotOf, type Place } from './place.ts'
import { runUnit } from './unit.ts'

/** What `commitSideEffect` takes, beside the effect and its input. */
export interface CommitSideEffectOptions {
  /** Names this commit: the same each time it is tried again. */
  readonly callId: string
  /** Names the work in logs, and is part of the key of an `'each-call'` effect: keep it. Default: the effect's name. */
  readonly name?: string
  /** Aborted: nothing begins any more. */
  readonly signal?: AbortSignal
}

/**
 * One effect, wherever it is needed: asks at `task`, stores the intent, asks again at `side_effect`, and runs it once per
 * key. Throws `CallRefusedError` when it was not allowed, its outcome is unknown, or another process is at it, and
 * `EffectNotPerformed` when it surely did not happen; `GUARD_MISCONFIGURED` without a call id.
 */
export async function commitSideEffect<Input, Result>(
  place: Place<Input>,
  effect: Effect<Input, Result>,
  input: Input,
  { callId, name = effect.name, signal }: CommitSideEffectOptions,
): Promise<Committed<Result>> {
  if (!callId)
    throw new GuardMisconfiguredError(
      `commitSideEffect "${name}" needs a callId that is the same when it is tried again, such as the id of an order.`,
    )
  const spot = spotOf(place)
  const outcome = await runUnit({
    spot,
    name,
    unit: input,
    unitId: callId,
    signal,
    effects: { effect },
    body: (work) => work.effects.effect(input),
  })
  if (outcome.state === 'done') return outcome.value
  const thrown = 'thrown' in outcome ? outcome.thrown : undefined
  if (thrown instanceof EffectNotPerformed || thrown instanceof GuardMisconfiguredError) throw thrown
  throw new CallRefusedError(outcome.refusal)
}
