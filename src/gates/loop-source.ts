import { GuardMisconfiguredError, messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { LoopUnits } from './loop-options.ts'

/** A unit that was taken. */
export interface Held<Unit> {
  readonly unit: Unit
  /** Its place in the source. */
  readonly turn: number
  readonly fallbackUnitId: string
}

export interface LoopSourceOptions<Unit> {
  readonly name: string
  readonly units: LoopUnits<Unit>
  readonly giveBack: ((unit: Unit) => void | Promise<void>) | undefined
  readonly signal: AbortSignal
  readonly log: Logger
}

/**
 * The units of a loop. S1: what was taken is in one place: with whoever took it, or kept here. S2: one is taken at a
 * time, and what arrives late is kept, or given back when the loop has ended. S3: a source that fails has not come to its
 * end: its error comes after what is kept, also where nobody waited for it.
 */
export class LoopSource<Unit> {
  readonly #options: LoopSourceOptions<Unit>
  readonly #kept: Held<Unit>[] = []
  #iterator: Iterator<Unit> | AsyncIterator<Unit> | undefined
  #pulling: Promise<void> | undefined
  #turns = 0
  #ended = false
  #failure: { readonly thrown: unknown } | undefined
  #released: Promise<void> | undefined

  constructor(options: LoopSourceOptions<Unit>) {
    this.#options = options
  }

  /** True when the source has come to its end, and nothing is kept. */
  get isEmpty(): boolean {
    return this.#ended && this.#failure === undefined && this.#kept.length === 0
  }

  /** In order. */
  get kept(): readonly Unit[] {
    return this.#kept.map(({ unit }) => unit)
  }

  /** The first that is kept. */
  take(): Held<Unit> | undefined {
    return this.#kept.shift()
  }

  keep(held: Held<Unit>): void {
    const after = this.#kept.findIndex(({ turn }) => turn > held.turn)
    this.#kept.splice(after === -1 ? this.#kept.length : after, 0, held)
  }

  /** The next one, from an `Iterable`. */
  takeNow(): Held<Unit> | undefined {
    if (this.#ended) return undefined
    return this.#arrived(this.#pullNow())
  }

  #pullNow(): IteratorResult<Unit> {
    try {
      return (this.#open() as Iterator<Unit>).next()
    } catch (thrown) {
      this.#ended = true
      throw thrown
    }
  }

  /** Resolves when one more is kept, or there are no more. Joins what waits already (S2). */
  pull(): Promise<void> {
    if (this.#pulling !== undefined) return this.#pulling
    const pulling = this.#pull().finally(() => (this.#pulling = undefined))
    // Whoever waited for it may have gone.
    pulling.catch(() => undefined)
    this.#pulling = pulling
    return pulling
  }

  async #pull(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.thrown
    if (this.#ended) return
    try {
      const held = this.#arrived(await this.#open().next())
      if (held === undefined) return
      this.keep(held)
      if (this.#released !== undefined) await this.#giveBackAll()
    } catch (thrown) {
      this.#ended = true
      this.#failure = { thrown }
      throw thrown
    }
  }

  #open(): Iterator<Unit> | AsyncIterator<Unit> {
    if (this.#iterator !== undefined) return this.#iterator
    const { name, units, signal } = this.#options
    const opened = typeof units === 'function' ? units({ signal }) : units
    assertIterable(opened, `guardedLoop "${name}": units must give`)
    this.#iterator = isAsync(opened) ? opened[Symbol.asyncIterator]() : opened[Symbol.iterator]()
    return this.#iterator
  }

  #arrived(next: IteratorResult<Unit, unknown>): Held<Unit> | undefined {
    if (next.done === true) {
      this.#ended = true
      return undefined
    }
    return { unit: next.value, turn: this.#turns++, fallbackUnitId: `unit_${crypto.randomUUID()}` }
  }

  /** The loop has ended for good: gives back what is kept, and ends the iterator, as `for await` does. */
  release(): Promise<void> {
    return (this.#released ??= this.#release())
  }

  async #release(): Promise<void> {
    await this.#giveBackAll()
    if (this.#ended) return
    try {
      const ending = this.#iterator?.return?.()
      // Behind a unit that is waited for, it may wait for ever.
      if (this.#pulling === undefined) await ending
      else Promise.resolve(ending).catch(() => undefined)
    } catch (cause) {
      this.#options.log.error({ gate: this.#options.name, err: messageOf(cause) }, 'units could not be ended')
    }
  }

  async #giveBackAll(): Promise<void> {
    const { name, giveBack, log } = this.#options
    if (giveBack === undefined) {
      if (this.#kept.length > 0)
        log.warn({ gate: name, units: this.#kept.length }, 'units taken and not done')
      return
    }
    for (const held of this.#kept.splice(0)) {
      try {
        await giveBack(held.unit)
      } catch (cause) {
        this.keep(held)
        log.error({ gate: name, err: messageOf(cause) }, 'a unit could not be given back')
      }
    }
  }
}

export function isAsync<Unit>(units: Iterable<Unit> | AsyncIterable<Unit>): units is AsyncIterable<Unit> {
  return typeof units === 'object' && Symbol.asyncIterator in units
}

/** Throws `GUARD_MISCONFIGURED`. An async function, for example, gives a promise. */
export function assertIterable(units: unknown, expected: string): void {
  if (typeof units === 'string') return
  const isObject = typeof units === 'object' && units !== null
  if (isObject && (Symbol.asyncIterator in units || Symbol.iterator in units)) return
  const given = units instanceof Promise ? 'a promise: use async function*' : typeof units
  throw new GuardMisconfiguredError(`${expected} an iterable or an async iterable, not ${given}.`)
}
