import { canonicalJson, digestOf } from '../canonical-json.ts'
import type { CallRequest } from './call.ts'
import { effectKey, idempotencyKeyOf, type EffectContext } from './effect.ts'
import type { AnyEffect } from './effect-run.ts'
import type { HoldPoint } from './guard.ts'
import type { Intent } from './journal.ts'
import type { Surface } from './surface.ts'

/** The call that an effect belongs to, once its id is settled. */
export interface EffectCall extends CallRequest {
  readonly callId: string
  /** False where the transport brought no call id and the guard made one up. */
  readonly callIdGiven: boolean
}

/** One try at one effect. */
export interface Attempt {
  readonly effect: AnyEffect
  readonly input: unknown
  readonly intent: Intent
  readonly idempotencyKey: string
  /** The hold point right before it. */
  readonly at: HoldPoint
  readonly bodySignal: AbortSignal
}

export interface AttemptOptions {
  readonly effect: AnyEffect
  readonly input: unknown
  readonly call: EffectCall
  readonly orgId: string | undefined
  readonly ordinal: number
  readonly surface: Surface
  readonly bodySignal: AbortSignal
}

/** Throws what the effect's own `key` or `redact` throws, and on an input that JSON cannot hold. */
export function createAttempt({
  effect,
  input,
  call,
  orgId,
  ordinal,
  surface,
  bodySignal,
}: AttemptOptions): Attempt {
  const { tool, callId, runId, caller = 'local', signal } = call
  const key = effectKey(effect, input, { orgId, caller, runId, callId, ordinal })
  const stored = effect.redact === undefined ? input : effect.redact(input)
  const intent: Intent = {
    key,
    effect: effect.name,
    kind: effect.kind,
    tool,
    runId,
    callId,
    inputDigest: digestOf(input),
    input: canonicalJson(stored),
    deadlineMs: effect.deadlineMs,
  }
  const at: HoldPoint = { surface, boundary: 'side_effect', tool, callId, runId, signal }
  return { effect, input, intent, idempotencyKey: idempotencyKeyOf(key), at, bodySignal }
}

export function effectContext(
  attempt: Attempt,
  call: EffectCall,
  signal: AbortSignal,
  epoch: number | undefined,
): EffectContext<never> {
  const { callId, runId, context } = call
  return { idempotencyKey: attempt.idempotencyKey, signal, context: context as never, callId, runId, epoch }
}
