import { AsyncLocalStorage } from 'node:async_hooks'
import { CallRefusedError } from '../guard/refusal.ts'
import { exitDenied } from './denial.ts'
import { declaredEffects, type DeclaredIn, type EffectsOrNone } from './effects.ts'
import { assertName, assertPolicy } from './options.ts'
import { spotOf, type Place } from './place.ts'
import { runUnit, type UnfinishedOutcome, type UnitOutcome, type UnitWork } from './unit.ts'

/**
 * What a job does when it is denied. `exit`: lets what runs of it settle, closes the guard, writes the log and exits with
 * status 1. `skip`: resolves with the outcome; the next time it asks again. `throw`: rejects with `CallRefusedError`.
 */
export type OnJobDenied = 'exit' | 'skip' | 'throw'

/** What `guardedJob` takes, beside its place. */
export interface GuardedJobOptions<Input, Effects extends EffectsOrNone, Result> {
  /** Names the job, in its questions and in the log. */
  readonly name: string
  /** What `run` may do to the world. No default. */
  readonly effects: Effects
  /** The job itself. `input` is what the scheduler calls it with. */
  readonly run: (work: UnitWork<DeclaredIn<Effects>>, input: Input) => Result | Promise<Result>
  /** What is the same when this run of the job comes again, such as its date: `'each-call'` effects that cost need it. */
  readonly unitId?: ((input: Input) => string) | undefined
  /** Default `exit`. */
  readonly onDenied?: OnJobDenied | undefined
}

/** What a scheduler calls. A job whose `run` takes no input is called without one. */
export type GuardedJob<Input, Result> = unknown extends Input
  ? (input?: unknown) => Promise<UnitOutcome<Result>>
  : (input: Input) => Promise<UnitOutcome<Result>>

/**
 * A job that asks before it does anything, at `task`, each time it is called. Rejects with what `run` threw; with
 * `CallRefusedError` when it is not known whether an effect happened; and, save with `skip`, with what `run` threw when a
 * stop or a shutdown interrupted it. Throws `GUARD_MISCONFIGURED`.
 */
export function guardedJob<Input = unknown, const Effects extends EffectsOrNone = 'none', Result = unknown>(
  place: Place<NoInfer<Input>>,
  { name, effects, run, unitId, onDenied = 'exit' }: GuardedJobOptions<Input, Effects, Result>,
): GuardedJob<Input, Result> {
  assertName(name, 'guardedJob')
  assertPolicy(onDenied, ['exit', 'skip', 'throw'], `guardedJob "${name}"`)
  const spot = spotOf<Input>(place)
  const { guard } = spot
  const declared = declaredEffects(guard, effects, `guardedJob "${name}"`)
  const running = new Set<Promise<unknown>>()
  const within = new AsyncLocalStorage<true>()

  async function job(input: Input): Promise<UnitOutcome<Result>> {
    const unit = runUnit({
      spot,
      name,
      unit: input,
      unitId: unitId?.(input),
      effects: declared,
      body: (work) => within.run(true, () => run(work, input)),
    })
    running.add(unit)
    const outcome = await unit
    running.delete(unit)
    return outcome.state === 'done' ? outcome : unfinished(outcome)
  }

  async function unfinished(outcome: UnfinishedOutcome): Promise<UnitOutcome<Result>> {
    const { state, refusal } = outcome
    if (state === 'failed') throw outcome.thrown
    if (state === 'unknown') throw new CallRefusedError(refusal)
    if (onDenied === 'skip') return outcome
    if (state === 'interrupted') throw outcome.thrown
    // A process that ends already needs no second reason.
    if (onDenied === 'throw' || guard.closingSignal.aborted) throw new CallRefusedError(refusal)
    // One that was called by another of its own cannot wait for that one; closing the guard signals it.
    if (within.getStore() === undefined) await Promise.all(running)
    return exitDenied(guard, name, refusal)
  }

  return job as GuardedJob<Input, Result>
}
