import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { logDecision } from './decision-log.ts'
import type { Decision } from './decision.ts'
import type { HoldPoint } from './guard.ts'

/** What a guard tells of, in the order in which it happens. */
export type GuardEvent =
  /** A hold point was decided. It is in the log already. */
  | { readonly kind: 'decision'; readonly at: HoldPoint; readonly decision: Decision }
  /** It is not known whether an effect happened: told each time somebody comes upon it, so the same key may come again. */
  | {
      readonly kind: 'outcome_unknown'
      readonly at: HoldPoint
      readonly effect: string
      /** Undefined when not even the key could be made. */
      readonly idempotencyKey: string | undefined
      readonly requestId: string
    }

/** Must not throw; what it does cannot change a decision. */
export type GuardListener = (event: GuardEvent) => void

export class GuardEvents {
  readonly #log: Logger
  readonly #listeners = new Map<GuardListener, (() => Promise<void>) | undefined>()

  constructor(log: Logger) {
    this.#log = log
  }

  subscribe(listener: GuardListener, last?: () => Promise<void>): () => void {
    this.#listeners.set(listener, last)
    return () => void this.#listeners.delete(listener)
  }

  /** G8: logged first. */
  decided(at: HoldPoint, decision: Decision, cause?: unknown): void {
    logDecision(this.#log, at, decision, cause)
    this.tell({ kind: 'decision', at, decision })
  }

  tell(event: GuardEvent): void {
    for (const listener of this.#listeners.keys()) this.safely(() => listener(event))
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#listeners.values()].map(async (last) => last?.()))
  }

  /** Whoever only wants to know cannot change a decision, or end the process, by throwing: at once or later. */
  safely(listener: () => unknown): void {
    const threw = (cause: unknown) =>
      this.#log.error({ err: messageOf(cause) }, 'a listener of the guard threw')
    try {
      const later = listener()
      if (later instanceof Promise) later.catch(threw)
    } catch (cause) {
      threw(cause)
    }
  }
}
