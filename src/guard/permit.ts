import { ageMs, type Clock, type Instant } from '../clock.ts'
import type { Allowed, Denied, LocalDenialCode } from './decision.ts'

export type Started<T> =
  { readonly started: true; readonly value: T } | { readonly started: false; readonly denied: Denied }

/** What a permit is made of. The guard makes them. */
export interface PermitOptions {
  /** The allow. */
  readonly decision: Allowed
  /** When its question was sent. */
  readonly sentAt: Instant
  /** How long after that it may start a body, in milliseconds. */
  readonly maxAgeMs: number
  /** What the time is taken from. */
  readonly clock: Clock
  /** Why nothing may start any more, or undefined: shutting down, aborted, stopped meanwhile. */
  readonly refusal: () => LocalDenialCode | undefined
  /** Logs the denial and gives it back. */
  readonly deny: (code: LocalDenialCode) => Denied
}

/**
 * One allow. It starts at most one body (G2), at most `maxAgeMs` after its question was sent (G3), and it is
 * never stored, shared or serialised.
 */
export class Permit {
  /** The allow that it stands for. */
  readonly decision: Allowed
  readonly #options: PermitOptions
  #used = false

  constructor(options: PermitOptions) {
    this.decision = options.decision
    this.#options = options
  }

  /** Starts `body` in this very tick, or says why not. `refusal` adds the caller's own reasons. */
  start<T>(body: () => T, refusal?: () => LocalDenialCode | undefined): Started<T> {
    const code = this.#refusal() ?? refusal?.()
    if (code !== undefined) return { started: false, denied: this.#options.deny(code) }
    this.#used = true
    return { started: true, value: body() }
  }

  /** Whether it could start a body in this tick. Asking says nothing to the log. */
  get isGood(): boolean {
    return this.#refusal() === undefined
  }

  #refusal(): LocalDenialCode | undefined {
    if (this.#used) return 'PERMIT_REUSED'
    const { sentAt, maxAgeMs, clock } = this.#options
    // Written so that an age that is not a number is too old.
    if (!(ageMs(sentAt, clock.now()) <= maxAgeMs)) return 'PERMIT_EXPIRED'
    return this.#options.refusal()
  }
}
