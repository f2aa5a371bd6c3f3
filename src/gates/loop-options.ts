import type { Refusal } from '../guard/refusal.ts'
import type { OnGateDenied } from './denial.ts'
import type { DeclaredIn, EffectsOrNone } from './effects.ts'
import { assertIterable } from './loop-source.ts'
import { assertCount, assertName, assertPolicy, assertRetryMs } from './options.ts'
import type { UnfinishedOutcome, UnitWork } from './unit.ts'

/** What a loop goes over, once: an iterator is kept, also over a denial. */
export type LoopUnits<Unit> =
  | Iterable<Unit>
  | AsyncIterable<Unit>
  /** Called once, after an allow. `signal` is aborted when the loop ends, for a source that may wait for ever. */
  | ((source: { readonly signal: AbortSignal }) => Iterable<Unit> | AsyncIterable<Unit>)

/** A unit whose body threw. */
export type FailedUnit = Extract<UnfinishedOutcome, { state: 'failed' }>
/** A unit with an effect of which nobody knows whether it happened. */
export type UnknownUnit = Extract<UnfinishedOutcome, { state: 'unknown' }>

/** A unit that was taken and is not done is kept, and goes first when the loop goes on: none is skipped. */
export interface GuardedLoopOptions<Unit, Effects extends EffectsOrNone> {
  /** Names the loop, in its questions and in the log. */
  readonly name: string
  /** What `work` may do to the world. No default. */
  readonly effects: Effects
  /**
   * An `Iterable` gives its next unit in the tick in which an allow lets that unit start. Anything else is asked for
   * before a unit is taken, since that may wait, and again right before the unit starts.
   */
  readonly units: LoopUnits<Unit>
  /** What tells units apart, and is the same when one comes again after a restart: `'each-call'` effects that cost need it. */
  readonly unitId?: ((unit: Unit) => string) | undefined
  /** The body of one unit, which may run again for a unit that was denied within it; its effects happen once. */
  readonly work: (unit: Unit, work: UnitWork<DeclaredIn<Effects>>) => unknown
  /** Default `exit`. */
  readonly onDenied?: OnGateDenied | undefined
  /** With `wait`: how long until it is asked again, in milliseconds: at least half of it, at most all. Default 5,000. */
  readonly retryMs?: number | undefined
  /** Units that run at once; they start in the order of the source. Default 1. */
  readonly concurrency?: number | undefined
  /** Given each unit that was taken and is not done when the loop ends for good: by an exit, an error or a close. */
  readonly giveBack?: ((unit: Unit) => void | Promise<void>) | undefined
  /** `work` threw `outcome.thrown`: the loop goes on. Without it `run()` rejects with what was thrown. */
  readonly onFailed?: ((unit: Unit, outcome: FailedUnit) => void | Promise<void>) | undefined
  /** It is not known whether an effect happened: the loop goes on. Without it `run()` rejects with `CallRefusedError`. */
  readonly onUnknown?: ((unit: Unit, outcome: UnknownUnit) => void | Promise<void>) | undefined
}

/** How `run()` ended. */
export type LoopEnd<Unit> =
  /** `finished`: every unit of the source is done. `closed`: by `close()` or because the guard shuts down. */
  | (LoopCount<Unit> & { readonly ended: 'finished' | 'closed' })
  /** With `stop`. A second `run()` goes on, with `kept` first. */
  | (LoopCount<Unit> & { readonly ended: 'denied'; readonly refusal: Refusal })

interface LoopCount<Unit> {
  /** Units that this `run()` has done. */
  readonly done: number
  /** Taken and not done, in order; without those that were given back. */
  readonly kept: readonly Unit[]
}

/** A loop that asks before each unit. */
export interface GuardedLoop<Unit> {
  /**
   * Works until the source has ended, it is denied, or it is closed. With `exit` it does not settle after a denial, so
   * that nothing behind it runs. Rejects with what `units`, `work` or a callback threw, when nothing runs any more, and
   * with `GATE_RUNNING` or `GATE_CLOSED` when it cannot begin.
   */
  run(): Promise<LoopEnd<Unit>>
  /**
   * Takes nothing more, signals running units, and resolves when they have settled: not to be awaited within `work`. Again:
   * changes nothing.
   */
  close(): Promise<void>
}

interface LoopSettings {
  readonly name: string
  readonly units: unknown
  readonly concurrency?: number | undefined
  readonly onDenied?: string | undefined
}

/** Throws `GUARD_MISCONFIGURED` for what the types refuse. */
export function assertLoopOptions(loop: LoopSettings, retryMs: number): void {
  const { name, units, concurrency = 1, onDenied = 'exit' } = loop
  assertName(name, 'guardedLoop')
  const whose = `guardedLoop "${name}"`
  assertPolicy(onDenied, ['exit', 'stop', 'wait'], whose)
  assertRetryMs(retryMs, whose)
  assertCount(concurrency, 'concurrency', whose)
  if (typeof units !== 'function')
    assertIterable(units, `${whose}: units must be, or be a function that gives,`)
}
