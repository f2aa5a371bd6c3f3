import type { Checked, HoldPoint } from '../guard/guard.ts'
import { CallRefusedError, refusalOf, type Refusal } from '../guard/refusal.ts'
import type { DeclaredIn, EffectsOrNone } from './effects.ts'
import type { GuardedLoopOptions } from './loop-options.ts'
import { isAsync, type Held, type LoopSource } from './loop-source.ts'
import type { Spot } from '../guard/spot.ts'
import { runUnit } from './unit.ts'

export interface RoundOptions<Unit, Effects extends EffectsOrNone> {
  readonly spot: Spot<Unit>
  /** Whether the unit has no say in where it is asked. */
  readonly isFixed: boolean
  readonly source: LoopSource<Unit>
  readonly effects: DeclaredIn<Effects>
  readonly loop: GuardedLoopOptions<Unit, Effects>
  readonly signal: AbortSignal
}

/**
 * A loop from one allow to the next denial. R1: after the first denial, failure or close nothing more is taken or asked
 * for, and what runs settles. R2: a unit that did not come to its end is kept, once, in its order.
 */
export class Round<Unit, Effects extends EffectsOrNone> {
  done = 0
  refusal: Refusal | undefined
  failure: { readonly thrown: unknown } | undefined
  readonly #options: RoundOptions<Unit, Effects>
  readonly #before: HoldPoint
  /** One question serves for one unit: an `Iterable` gives it without a wait. */
  readonly #isInstant: boolean
  #isOver = false
  #waiting: PromiseWithResolvers<void> | undefined

  constructor(options: RoundOptions<Unit, Effects>) {
    const { spot, isFixed, loop, signal } = options
    this.#options = options
    this.#before = { surface: spot.unchosen, boundary: 'task', tool: loop.name, signal }
    this.#isInstant = isFixed && typeof loop.units !== 'function' && !isAsync(loop.units)
  }

  /** Resolves when nothing runs any more. */
  async run(): Promise<void> {
    const { loop, signal } = this.#options
    const onClosing = () => this.#end()
    signal.addEventListener('abort', onClosing)
    if (signal.aborted) this.#end()
    await Promise.all(Array.from({ length: loop.concurrency ?? 1 }, () => this.#lane()))
    signal.removeEventListener('abort', onClosing)
  }

  #end(): void {
    this.#isOver = true
    this.#waiting?.resolve()
  }

  #denied(refusal: Refusal): void {
    this.refusal ??= refusal
    this.#end()
  }

  #failed(thrown: unknown): void {
    this.failure ??= { thrown }
    this.#end()
  }

  async #lane(): Promise<void> {
    const { source } = this.#options
    try {
      while (!this.#isOver && !source.isEmpty) {
        const held = source.take()
        if (held !== undefined) await this.#handle(held)
        else if (this.#isInstant) await this.#askAndStart()
        else await this.#askAndPull()
      }
    } catch (thrown) {
      this.#failed(thrown)
    }
  }

  async #askAndStart(): Promise<void> {
    const { source, spot } = this.#options
    const checked = await spot.guard.check(this.#before)
    if (!checked.allowed) return this.#denied(refusalOf(checked.decision))
    if (this.#isOver) return
    const held = source.take() ?? source.takeNow()
    if (held !== undefined) await this.#handle(held, checked)
  }

  /** One for all lanes. Ends with the round, however long the source makes it wait. */
  #askAndPull(): Promise<void> {
    if (this.#waiting !== undefined) return this.#waiting.promise
    const waiting = Promise.withResolvers<void>()
    this.#waiting = waiting
    this.#pull()
      .catch((thrown: unknown) => this.#failed(thrown))
      .finally(() => {
        this.#waiting = undefined
        waiting.resolve()
      })
    return waiting.promise
  }

  async #pull(): Promise<void> {
    const { source, spot } = this.#options
    const checked = await spot.guard.check(this.#before)
    if (!checked.allowed) return this.#denied(refusalOf(checked.decision))
    if (this.#isOver) return
    const started = checked.permit.start(() => source.pull())
    if (!started.started) return this.#denied(refusalOf(started.denied))
    await started.value
  }

  async #handle(held: Held<Unit>, checked?: Checked): Promise<void> {
    const { spot, source, effects, loop, signal } = this.#options
    const { unit, fallbackUnitId } = held
    const { name, unitId, work, onFailed, onUnknown } = loop
    let isKept = true
    try {
      const outcome = await runUnit({
        spot,
        name,
        unit,
        unitId: unitId?.(unit),
        fallbackUnitId,
        effects,
        signal,
        checked,
        body: (unitWork) => work(unit, unitWork),
      })
      isKept = outcome.state === 'denied' || outcome.state === 'interrupted'
      if (outcome.state === 'done') this.done += 1
      else if (outcome.state === 'denied') this.#denied(outcome.refusal)
      else if (outcome.state === 'failed') {
        if (onFailed === undefined) this.#failed(outcome.thrown)
        else await onFailed(unit, outcome)
      } else if (outcome.state === 'unknown') {
        if (onUnknown === undefined) this.#failed(new CallRefusedError(outcome.refusal))
        else await onUnknown(unit, outcome)
      }
    } finally {
      if (isKept) source.keep(held)
    }
  }
}
