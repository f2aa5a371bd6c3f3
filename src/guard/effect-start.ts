import { ageMs } from '../clock.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { effectContext, isStoredInput, type Attempt, type EffectCall, type Held } from './attempt.ts'
import type { Denied, LocalDenialCode } from './decision.ts'
import {
  endOfRollback,
  LEASE_MS,
  superviseEffect,
  tookTooLong,
  type AnyEffect,
  type EffectEnd,
} from './effect-run.ts'
import { codeOf } from './effect.ts'
import { withAborts } from './forward-aborts.ts'
import type { Guard } from './guard.ts'
import { Running, underOf } from './in-flight.ts'
import type { Journal } from './journal.ts'
import type { Permit } from './permit.ts'
import type { StoppedEnd } from './stop-stream.ts'

export interface EffectStart {
  readonly call: EffectCall
  readonly attempt: Attempt
  readonly held: Held
  /** What of the call keeps the effect from starting. Asked in the tick that would start it. */
  readonly refusal: () => LocalDenialCode | undefined
}

export type EffectRun =
  | { readonly started: false; readonly denied: Denied }
  | {
      readonly started: true
      readonly end: EffectEnd
      /** How it ended after all, for an effect that outlived its deadline. */
      readonly late: Promise<EffectEnd>
      /** The outcome is in the journal already. */
      readonly stored: boolean
    }

type TransactionalJournal = Journal & Required<Pick<Journal, 'settleWith'>>

/** The second hold point, and on a fresh allow the effect. */
export async function startEffect(guard: Guard, start: EffectStart): Promise<EffectRun> {
  const { attempt, held, call } = start
  const checked = await guard.check(attempt.at)
  if (!checked.allowed) return { started: false, denied: checked.decision }
  const controller = new AbortController()
  const { signal } = controller
  // Of its own devices: a stop of its surface reaches it also where that is not its tool's.
  const running = new Running(underOf(attempt.at, checked.decision), {
    caller: call.signal,
    within: attempt.body,
  })
  const context = effectContext(attempt, call, signal, checked.decision.epoch)
  // C2: from here to the effect's first line everything is one tick.
  const run = (transaction?: unknown): unknown => {
    guard.effectBegan(running)
    guard.reach('effect.allowed')
    const { effect, input } = attempt
    return withAborts(controller, abortSources(guard, effect, running.signal), () =>
      codeOf(effect).run(input, transaction === undefined ? context : { ...context, transaction }),
    )
  }
  if (attempt.effect.transactional === true && hasTransactions(guard.journal)) {
    const { deadlineMs, name } = attempt.effect
    const timer = setTimeout(() => controller.abort(tookTooLong(name, deadlineMs)), deadlineMs)
    const ran = await inTransaction(guard.journal, guard, { ...start, permit: checked.permit, run })
    clearTimeout(timer)
    if (ran.started) guard.effectEnded(running, stoppedEnd(ran.end, signal))
    return ran
  }
  const started = checked.permit.start(
    async () => run(),
    () => mayNotStart(guard, start),
  )
  if (!started.started) return started
  const renew = () => guard.journal.renew(held.token, LEASE_MS)
  const supervised = await superviseEffect(started.value, { effect: attempt.effect, controller, renew })
  // An effect that outlived its deadline runs until it has truly ended.
  void supervised.late.then((late) => guard.effectEnded(running, stoppedEnd(late, signal)))
  if (supervised.end.outcome.state === 'done') guard.reach('effect.performed')
  return { started: true, ...supervised, stored: false }
}

interface TransactionalStart extends EffectStart {
  readonly permit: Permit
  readonly run: (transaction: unknown) => unknown
}

/** E4. The permit is looked at inside the transaction, since its lock may have been waited for (G3). */
async function inTransaction(
  journal: TransactionalJournal,
  guard: Guard,
  start: TransactionalStart,
): Promise<EffectRun> {
  const ended = (end: EffectEnd): EffectRun => {
    const stored = end.outcome.state === 'done'
    return { started: true, end, late: Promise.resolve(end), stored }
  }
  let notStarted: Extract<EffectRun, { started: false }> | undefined
  try {
    const committed = await journal.settleWith(start.held.token, (transaction) => {
      const started = start.permit.start(
        () => start.run(transaction),
        () => mayNotStart(guard, start),
      )
      if (started.started) return performed(guard, started.value)
      notStarted = started
      throw new HoldpointError(started.denied.code, 'Not allowed, so nothing was written.')
    })
    if (notStarted !== undefined) return notStarted
    if (!committed.committed) return ended(endOfRollback(committed.thrown))
    guard.reach('effect.outcome_stored')
    return ended({ outcome: { state: 'done', result: undefined }, value: committed.value })
  } catch (thrown) {
    return ended({ outcome: { state: 'unknown' }, thrown: messageOf(thrown) })
  }
}

/** With Postgres it may be a promise. */
function performed(guard: Guard, value: unknown): unknown {
  const reach = (result: unknown) => {
    guard.reach('effect.performed')
    return result
  }
  return value instanceof Promise ? value.then(reach) : reach(value)
}

function hasTransactions(journal: Journal): journal is TransactionalJournal {
  return journal.settleWith !== undefined
}

function mayNotStart(guard: Guard, { attempt, held, refusal }: EffectStart): LocalDenialCode | undefined {
  const code = refusal()
  if (code !== undefined) return code
  if (attempt.body.signal.aborted) return 'CALL_ABORTED'
  // E1: a machine that was suspended since it stored the intent may have lost it to another owner.
  if (!(ageMs(held.heldAt, guard.clock.now()) < LEASE_MS)) return 'PERMIT_EXPIRED'
  if (isStoredInput(attempt)) return undefined
  guard.log.error(
    { effect: attempt.effect.name, tool: attempt.at.tool, call_id: attempt.at.callId },
    'the input of this effect was changed since it was committed: leave it as it is, also in choose, key and redact',
  )
  return 'GUARD_MISCONFIGURED'
}

/** What aborts an effect beside its deadline: the end of a shutdown, and with `onStop: 'abort'` also `stopped`. */
export function abortSources(guard: Guard, { onStop }: AnyEffect, stopped: AbortSignal): AbortSignal[] {
  return onStop === 'abort' ? [guard.shutdownSignal, stopped] : [guard.shutdownSignal]
}

/** What became of it, as operators are told who stopped it meanwhile. */
function stoppedEnd({ outcome }: EffectEnd, { aborted }: AbortSignal): StoppedEnd {
  if (outcome.state === 'unknown') return 'unknown'
  return outcome.state !== 'done' && aborted ? 'aborted' : 'finished'
}
