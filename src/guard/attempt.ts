import { canonicalJson, digestOf, digestOfText } from '../canonical-json.ts'
import type { Instant } from '../clock.ts'
import type { CallRequest } from './call.ts'
import { atOnce } from './at-once.ts'
import { effectKey, idempotencyKeyOf, type EffectContext } from './effect.ts'
import type { AnyEffect } from './effect-run.ts'
import type { HoldPoint } from './guard.ts'
import type { Running } from './in-flight.ts'
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
  readonly ordinal: number
  readonly idempotencyKey: string
  /** The hold point right before it. */
  readonly at: HoldPoint
  readonly body: Running
}

export interface AttemptOptions {
  readonly effect: AnyEffect
  readonly input: unknown
  /** The input, from before the effect's author could change it. */
  readonly text: string
  readonly call: EffectCall
  readonly orgId: string | undefined
  readonly ordinal: number
  readonly surface: Surface
  readonly body: Running
}

/** Throws what the effect's own `key` or `redact` throws, and when what `redact` gives cannot be shown as JSON. */
export function createAttempt({
  effect,
  input,
  text,
  call,
  orgId,
  ordinal,
  surface,
  body,
}: AttemptOptions): Attempt {
  const { tool, callId, runId, caller = 'local', signal } = call
  const key = effectKey(effect, input, { orgId, caller, runId, callId, ordinal })
  const intent: Intent = {
    key,
    effect: effect.name,
    kind: effect.kind,
    tool,
    caller,
    runId,
    callId,
    inputDigest: digestOfText(text),
    input: effect.redact === undefined ? text : canonicalJson(atOnce(effect.redact(input))),
    deadlineMs: effect.deadlineMs,
    transactional: effect.transactional === true,
  }
  const at: HoldPoint = { surface, boundary: 'side_effect', tool, callId, runId, signal }
  return { effect, input, intent, ordinal, idempotencyKey: idempotencyKeyOf(key), at, body }
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

/** What its surface was chosen by, and what was stored, is what runs: the author may have changed the object since. */
export function isStoredInput({ input, intent }: Attempt): boolean {
  try {
    return digestOf(input) === intent.inputDigest
  } catch {
    return false
  }
}

/** An intent that is ours, and since when at the latest. */
export interface Held {
  readonly token: string
  readonly heldAt: Instant
  /** An earlier attempt at this key may have happened: only its own sink can say that it did not. */
  readonly afterUnknown: boolean
}

/** Which commit of an effect within a call: the number of one that surely did not happen goes to the next. */
export class Ordinals {
  readonly #next = new Map<string, number>()
  readonly #free = new Map<string, number[]>()

  take(effect: string): number {
    const free = this.#free.get(effect)?.shift()
    if (free !== undefined) return free
    const ordinal = this.#next.get(effect) ?? 0
    this.#next.set(effect, ordinal + 1)
    return ordinal
  }

  giveBack(effect: string, ordinal: number): void {
    this.#free.set(
      effect,
      [...(this.#free.get(effect) ?? []), ordinal].toSorted((a, b) => a - b),
    )
  }
}
