import { messageOf } from '../errors.ts'
import { EffectNotPerformed, notSent, type Effect } from './effect.ts'
import type { Outcome } from './journal.ts'

/** How long an owner counts as alive after a sign of life. Renewed three times within it, past the deadline too. */
export const LEASE_MS = 60_000

/** An effect as the guard handles it, whatever its input and result. */
export type AnyEffect = Effect<unknown, unknown, never>

export interface EffectEnd {
  readonly outcome: Outcome
  /** With `done`: what the effect gave. */
  readonly value?: unknown
  /** With `failed`: why it surely did not happen. */
  readonly notPerformed?: EffectNotPerformed
  /** With `failed`: the effect did not say so itself; the connection failed before anything was sent. */
  readonly inferred?: true
  /** With `unknown`: its deadline has passed, and it has not ended. */
  readonly overdue?: true
  /** With `unknown`: why, where the effect itself said so. */
  readonly thrown?: string
}

export interface Supervision {
  readonly effect: AnyEffect
  /** Of its signal. Aborted at the deadline, and when a renewal fails. */
  readonly controller: AbortController
  /** A sign of life to the journal; false or a throw when the effect is no longer ours. */
  readonly renew: () => Promise<boolean>
}

/**
 * Waits for a running effect, at most until its deadline. `late` is how it ended after all, for an effect that outlived
 * its deadline. Until then the journal has signs of life, so that nobody else repeats or settles what is still on its way.
 */
export async function superviseEffect(
  running: Promise<unknown>,
  { effect, controller, renew }: Supervision,
): Promise<{ end: EffectEnd; late: Promise<EffectEnd> }> {
  const overdue = Promise.withResolvers<EffectEnd>()
  const timer = setTimeout(() => {
    const thrown = tookTooLong(effect.name, effect.deadlineMs)
    controller.abort(thrown)
    const outcome = { state: 'unknown', leaseMs: LEASE_MS } as const
    overdue.resolve({ outcome, overdue: true, thrown: thrown.message })
  }, effect.deadlineMs)
  const lost = () =>
    controller.abort(new Error('The journal cannot be reached, so this effect is no longer ours.'))
  const gone = () => {
    clearInterval(renewal)
    lost()
  }
  let aliveUntilMs = performance.now() + LEASE_MS
  const renewal = setInterval(() => {
    // A renewal that never answers is none.
    if (performance.now() >= aliveUntilMs) return gone()
    renew().then((alive) => {
      if (!alive) return gone()
      aliveUntilMs = performance.now() + LEASE_MS
    }, lost)
  }, LEASE_MS / 3)
  const late = running.then(
    (value): EffectEnd => ({ outcome: { state: 'done', result: resultJson(value) }, value }),
    endOfThrow,
  )
  void late.then(() => clearInterval(renewal))
  const end = await Promise.race([late, overdue.promise])
  clearTimeout(timer)
  // What nobody waits for keeps no process alive.
  renewal.unref()
  return { end, late }
}

/** Why a deadline aborts. */
export function tookTooLong(name: string, deadlineMs: number): Error {
  return new Error(`The effect "${name}" took longer than ${deadlineMs} ms.`)
}

/**
 * Whether a sink's "it is not there" counts. While it may still honour the key it says little: the effect may be on its
 * way, and what a sink searches lags behind what it did. A clock that was set back tells no age.
 */
export function absentCounts(
  { sinkKeyTtlMs = 0 }: Pick<AnyEffect, 'sinkKeyTtlMs'>,
  sinceFirstAttemptMs: number,
): boolean {
  return sinkKeyTtlMs === 0 || sinceFirstAttemptMs >= sinkKeyTtlMs
}

function endOfThrow(thrown: unknown): EffectEnd {
  const text = messageOf(thrown)
  if (thrown instanceof EffectNotPerformed)
    return { outcome: { state: 'failed' }, notPerformed: thrown, thrown: text }
  if (!notSent(thrown)) return { outcome: { state: 'unknown' }, thrown: text }
  const notPerformed = new EffectNotPerformed('The service could not be reached; nothing was sent.', {
    cause: thrown,
  })
  return { outcome: { state: 'failed' }, notPerformed, inferred: true, thrown: text }
}

/** A transaction that was rolled back: whatever was thrown, nothing was written. */
export function endOfRollback(thrown: unknown): EffectEnd {
  const notPerformed =
    thrown instanceof EffectNotPerformed
      ? thrown
      : new EffectNotPerformed('It failed and was rolled back; nothing was written.', { cause: thrown })
  return { outcome: { state: 'failed' }, notPerformed, thrown: messageOf(thrown) }
}

/** An effect that repeats an unknown outcome: that this attempt was not sent says nothing about the earlier one. */
export function afterUnknown(end: EffectEnd): EffectEnd {
  if (end.inferred !== true) return end
  return { outcome: { state: 'unknown' }, ...(end.thrown === undefined ? {} : { thrown: end.thrown }) }
}

/** A result that JSON cannot hold is done all the same; a replay then gives undefined. */
export function resultJson(result: unknown): string | undefined {
  try {
    return JSON.stringify(result)
  } catch {
    return undefined
  }
}
