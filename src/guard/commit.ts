import { canonicalJson } from '../canonical-json.ts'
import type { Instant } from '../clock.ts'
import { messageOf } from '../errors.ts'
import {
  createAttempt,
  effectContext,
  Ordinals,
  type Attempt,
  type EffectCall,
  type Held,
} from './attempt.ts'
import { beginIntent, type IntentAnswer } from './begin-intent.ts'
import type { EffectReport } from './call.ts'
import type { Allowed, Denied, LocalDenialCode } from './decision.ts'
import {
  codeOf,
  EffectNotPerformed,
  effectSurface,
  isEffect,
  type Effect,
  type Reconciled,
} from './effect.ts'
import {
  absentCounts,
  afterUnknown,
  LEASE_MS,
  resultJson,
  superviseEffect,
  type AnyEffect,
  type EffectEnd,
} from './effect-run.ts'
import { abortSources, startEffect, type EffectRun } from './effect-start.ts'
import { withAborts } from './forward-aborts.ts'
import type { Guard, HoldPoint } from './guard.ts'
import type { Running } from './in-flight.ts'
import type { Begun } from './journal.ts'
import { CallRefusedError, effectRefusal, refusalOf, type EffectProblem, type Refusal } from './refusal.ts'
import { storeOutcome } from './store-outcome.ts'

/** What a commit gave. `replayed`: an earlier attempt did it; nothing ran now. */
export interface Committed<Result> {
  readonly result: Result
  readonly replayed: boolean
  readonly idempotencyKey: string
}

/** Kinds where a repeat that is not recognised costs money. */
const COSTLY = new Set(['payment', 'transfer'])

/**
 * The effects of one call.
 * C1: the intent is durable before the question (G8). C2: nothing is awaited between verdict and effect (G3).
 * C3: a key that is done is replayed, never run. C4: an unknown outcome is never repeated blindly.
 * C5: the first refusal is the call's, whatever the body does with it. C6: nothing starts after the body ended.
 * C7: an approval is used up in the transaction of the intent, or nothing begins.
 * C8: an effect of a hosted run begins only while its claim holds, looked at in that transaction too.
 */
export class Commits {
  readonly reports: EffectReport[] = []
  refusal: Refusal | undefined
  readonly #guard: Guard
  readonly #call: EffectCall
  readonly #allowed: Allowed
  readonly #ordinals = new Ordinals()
  readonly #begun: Promise<unknown>[] = []
  #settled = false

  constructor(guard: Guard, call: EffectCall, allowed: Allowed) {
    this.#guard = guard
    this.#call = call
    this.#allowed = allowed
  }

  /** True once the body has ended. */
  get settled(): boolean {
    return this.#settled
  }

  /** What began within the call is awaited before the call ends. */
  hold(running: Promise<unknown>): void {
    // Handled here too, so that what nobody awaits cannot bring the process down.
    running.catch(() => undefined)
    this.#begun.push(running)
  }

  /** The body has ended: what has not started never will (C6), what has started is awaited. */
  async settle(): Promise<void> {
    this.#settled = true
    await Promise.allSettled(this.#begun)
  }

  commit<Input, Result>(
    effect: Effect<Input, Result, never>,
    input: Input,
    body: Running,
  ): Promise<Committed<Result>> {
    const committing = this.#stickily(effect as AnyEffect, input, body) as Promise<Committed<Result>>
    this.hold(committing)
    return committing
  }

  /** Nothing of ours throws anything else; if it does, a body's `catch` must not hide it. */
  async #stickily(effect: AnyEffect, input: unknown, body: Running): Promise<Committed<unknown>> {
    try {
      return await this.#commit(effect, input, body)
    } catch (thrown) {
      if (thrown instanceof CallRefusedError || thrown instanceof EffectNotPerformed) throw thrown
      this.#guard.log.error({ effect: effect.name, err: messageOf(thrown) }, 'commit failed')
      this.reports.push({ name: effect.name, state: 'unknown' })
      const { surface, tool, callId, runId } = this.#call
      const at: HoldPoint = { surface, boundary: 'side_effect', tool, callId, runId }
      const { requestId } = this.#allowed
      this.#guard.outcomeUnknown({ at, effect: effect.name, idempotencyKey: undefined, requestId })
      throw this.#sticky(effectRefusal('unknown', surface, requestId))
    }
  }

  async #commit(effect: AnyEffect, input: unknown, body: Running): Promise<Committed<unknown>> {
    if (this.refusal !== undefined) throw new CallRefusedError(this.refusal)
    const attempt = this.#prepare(effect, input, body)
    const { begun, heldAt } = await this.#begin(attempt)
    switch (begun.state) {
      case 'begun':
        return this.#perform(attempt, { token: begun.token, heldAt, afterUnknown: false })
      case 'done':
        return this.#replay(attempt, begun.result)
      case 'unknown':
        return this.#settleUnknown(attempt, begun, heldAt)
      case 'conflict':
      case 'running':
        return this.#stop(attempt, begun.state)
    }
  }

  #prepare(effect: AnyEffect, input: unknown, body: Running): Attempt {
    const { surface, tool, callId, runId, signal, callIdGiven } = this.#call
    const own: HoldPoint = { surface, boundary: 'side_effect', tool, callId, runId, signal }
    if (this.#settled) this.#refuse(own, 'LATE_COMMIT')
    if (!isEffect(effect)) this.#refuse(own, 'GUARD_MISCONFIGURED')
    if (effect.key === 'each-call' && !callIdGiven && COSTLY.has(effect.kind))
      this.#refuse(own, 'CALL_ID_REQUIRED')
    const ordinal = this.#ordinals.take(effect.name)
    try {
      // First: what `choose`, `key` or `redact` changes after this is denied in the tick that would start it (G1).
      const text = canonicalJson(input)
      const named = effectSurface(effect, input)
      const { orgId } = this.#allowed
      return createAttempt({
        effect,
        input,
        text,
        call: this.#call,
        orgId,
        ordinal,
        surface: named === undefined ? surface : this.#guard.surface(named),
        body,
      })
    } catch (cause) {
      this.#guard.log.error(
        { effect: effect.name, tool, call_id: callId, err: messageOf(cause) },
        'effect cannot be keyed',
      )
      return this.#refuse(own, 'GUARD_MISCONFIGURED')
    }
  }

  /** C1, C7, C8. */
  async #begin(attempt: Attempt, retakeUnknown = false): Promise<IntentAnswer & { state: 'answered' }> {
    const { approval, fence } = this.#call
    const answer = await beginIntent(this.#guard, attempt, { retakeUnknown, approval, fence })
    if (answer.state === 'answered') return answer
    this.reports.push({ name: attempt.effect.name, state: retakeUnknown ? 'unknown' : 'denied' })
    return this.#refuse(attempt.at, answer.code)
  }

  async #perform(attempt: Attempt, held: Held): Promise<Committed<unknown>> {
    this.#guard.reach('effect.intent_stored')
    if (this.refusal !== undefined) {
      await this.#notStarted(attempt, held)
      throw new CallRefusedError(this.refusal)
    }
    const run = await startEffect(this.#guard, {
      call: this.#call,
      attempt,
      held,
      refusal: () => {
        if (this.#settled) return 'LATE_COMMIT'
        return this.refusal === undefined ? undefined : 'CALL_ABORTED'
      },
    })
    if (run.started) return this.#finish(attempt, held, run)
    await this.#notStarted(attempt, held)
    throw this.refused(run.denied)
  }

  /** A repeat that did not start leaves an unknown outcome as unknown as it was. */
  async #notStarted(attempt: Attempt, { token, afterUnknown: wasUnknown }: Held): Promise<void> {
    const state = wasUnknown ? 'unknown' : 'denied'
    await storeOutcome(this.#guard, attempt, token, { state })
    this.reports.push({ name: attempt.effect.name, state })
  }

  async #finish(
    attempt: Attempt,
    held: Held,
    run: EffectRun & { started: true },
  ): Promise<Committed<unknown>> {
    const { effect, intent, idempotencyKey } = attempt
    const read = (one: EffectEnd) => (held.afterUnknown ? afterUnknown(one) : one)
    const end = read(run.end)
    if (!run.stored) await storeOutcome(this.#guard, attempt, held.token, end.outcome)
    this.#log(attempt, 'effect ended', { state: end.outcome.state, replayed: false, err: end.thrown })
    if (end.outcome.state === 'done') {
      this.reports.push({ name: effect.name, state: 'done' })
      return { result: end.value, replayed: false, idempotencyKey }
    }
    if (end.notPerformed !== undefined) {
      this.reports.push({ name: effect.name, state: 'failed' })
      this.#ordinals.giveBack(effect.name, attempt.ordinal)
      throw end.notPerformed
    }
    // The effect may still end after its deadline; what it says then is better than unknown. If it cannot tell either, it
    // has ended at least, and whoever knows more may say so.
    if (end.overdue === true) {
      this.#guard.overdueKeys.add(intent.key)
      void run.late.then(async (late) => {
        this.#guard.overdueKeys.delete(intent.key)
        await storeOutcome(this.#guard, attempt, held.token, read(late).outcome)
      })
    }
    return this.#stop(attempt, 'unknown')
  }

  /** C4: the sink repeats nothing while it honours the key; after that only `reconcile` or an operator can tell. */
  async #settleUnknown(
    attempt: Attempt,
    { sinceFirstAttemptMs, notPerformed }: Begun & { state: 'unknown' },
    askedAt: Instant,
  ): Promise<Committed<unknown>> {
    if (this.#guard.overdueKeys.has(attempt.intent.key)) return this.#stop(attempt, 'running')
    const { sinkKeyTtlMs = 0 } = attempt.effect
    const { reconcile } = codeOf(attempt.effect)
    // A store whose clock was set back cannot tell how long ago it was. What is asked now may start as late as a lease later.
    const sinkRepeatsNothing = sinceFirstAttemptMs >= 0 && sinceFirstAttemptMs + LEASE_MS < sinkKeyTtlMs
    const mayRepeat = notPerformed === true || sinkRepeatsNothing
    if (!mayRepeat && reconcile === undefined) return this.#stop(attempt, 'unknown')
    const { begun } = await this.#begin(attempt, true)
    if (begun.state === 'done') return this.#replay(attempt, begun.result)
    if (begun.state !== 'begun') return this.#stop(attempt, 'unknown')
    // Counted from when its age was asked, so that the start is within that lease.
    const held: Held = { token: begun.token, heldAt: askedAt, afterUnknown: notPerformed !== true }
    if (mayRepeat) return this.#perform(attempt, held)
    return this.#reconcile(attempt, held, absentCounts(attempt.effect, sinceFirstAttemptMs))
  }

  async #reconcile(attempt: Attempt, { token }: Held, mayBeAbsent: boolean): Promise<Committed<unknown>> {
    const { effect, input } = attempt
    const controller = new AbortController()
    const sources = abortSources(this.#guard, effect, attempt.body.signal)
    const context = effectContext(attempt, this.#call, controller.signal, this.#allowed.epoch)
    const asking = withAborts(controller, sources, async () => codeOf(effect).reconcile?.(input, context))
    const { journal } = this.#guard
    const renew = () => journal.renew(token, LEASE_MS)
    const { end } = await superviseEffect(asking, { effect, controller, renew })
    const found = end.value as Reconciled<unknown> | undefined
    if (end.thrown !== undefined) this.#log(attempt, 'reconcile failed', { err: end.thrown })
    if (found?.state === 'absent' && mayBeAbsent) {
      // Asking took its time: that it is still ours, and so is its run, is looked at again (E1, C8).
      const heldAt = this.#guard.clock.now()
      const ours = journal.renew(token, LEASE_MS, this.#call.fence).catch(() => false)
      if (await ours) return this.#perform(attempt, { token, heldAt, afterUnknown: false })
    }
    if (found?.state === 'done') {
      const result = resultJson(found.result)
      await storeOutcome(this.#guard, attempt, token, { state: 'done', result })
      return this.#replay(attempt, result)
    }
    await storeOutcome(this.#guard, attempt, token, { state: 'unknown' })
    return this.#stop(attempt, 'unknown')
  }

  /** C3. */
  #replay(attempt: Attempt, result: string | undefined): Committed<unknown> {
    this.reports.push({ name: attempt.effect.name, state: 'replayed' })
    this.#log(attempt, 'effect replayed', { state: 'done', replayed: true })
    const value: unknown = result === undefined ? undefined : JSON.parse(result)
    return { result: value, replayed: true, idempotencyKey: attempt.idempotencyKey }
  }

  #stop(attempt: Attempt, problem: EffectProblem): never {
    this.reports.push({ name: attempt.effect.name, state: problem === 'running' ? 'in_progress' : problem })
    this.#log(attempt, 'effect not run', { state: problem })
    if (problem === 'unknown') {
      const { at, effect, idempotencyKey } = attempt
      this.#guard.outcomeUnknown({
        at,
        effect: effect.name,
        idempotencyKey,
        requestId: this.#allowed.requestId,
      })
    }
    throw this.#sticky(effectRefusal(problem, attempt.at.surface, this.#allowed.requestId))
  }

  #refuse(at: HoldPoint, code: LocalDenialCode): never {
    throw this.refused(this.#guard.denyNow(at, code))
  }

  /** C5, for what else asks within the call. */
  refused(denied: Denied): CallRefusedError {
    return this.#sticky(refusalOf(denied))
  }

  /** C5. */
  #sticky(refusal: Refusal): CallRefusedError {
    this.refusal ??= refusal
    return new CallRefusedError(refusal)
  }

  #log(attempt: Attempt, message: string, fields: Record<string, unknown>): void {
    const { callId, runId, tool } = this.#call
    const line = {
      effect: attempt.effect.name,
      tool,
      call_id: callId,
      run_id: runId,
      idempotency_key: attempt.idempotencyKey,
    }
    this.#guard.log.info({ ...line, ...fields }, message)
  }
}
