import { ageMs, type Clock, type Instant } from '../clock.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import { TIMEOUT_MS } from '../guard/time-budget.ts'

type Stop = (failure: AuthorityFailure) => void

/**
 * One deadline over everything a question does. When it ends, by time or by the caller's signal, it stops what
 * is running; nothing is raced against it and left behind.
 */
export class Deadline {
  readonly startedAt: Instant
  readonly #timeoutMs: number
  readonly #signal: AbortSignal | undefined
  readonly #clock: Clock
  readonly #timer: NodeJS.Timeout
  readonly #running = new Set<Stop>()
  #ended: AuthorityFailure | undefined
  #closed = false

  /** Throws `GUARD_MISCONFIGURED` on a budget that is no budget: an unset one never means endless. */
  constructor(timeoutMs: number, signal: AbortSignal | undefined, clock: Clock) {
    if (!(typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= TIMEOUT_MS.max)) {
      throw new AuthorityFailure(
        'GUARD_MISCONFIGURED',
        `timeoutMs must be over 0 and at most ${TIMEOUT_MS.max} milliseconds. Nothing was sent.`,
      )
    }
    if (signal?.aborted) throw aborted()
    this.#timeoutMs = timeoutMs
    this.#signal = signal
    this.#clock = clock
    this.startedAt = clock.now()
    this.#timer = setTimeout(() => this.#end(this.#late()), timeoutMs)
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Why nothing may count any more, if so. Looks at the clock too: a blocked event loop delays the timer. */
  failure(): AuthorityFailure | undefined {
    if (this.#ended !== undefined) return this.#ended
    if (this.#closed) return settled()
    return ageMs(this.startedAt, this.#clock.now()) <= this.#timeoutMs ? undefined : this.#late()
  }

  /** `stop` is called once when the deadline ends, unless it was unwatched before. */
  watch(stop: Stop): void {
    this.#running.add(stop)
  }

  unwatch(stop: Stop): void {
    this.#running.delete(stop)
  }

  /** The question is settled: whatever still runs for it is stopped, and nothing more may begin. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
    if (this.#running.size > 0) this.#end(settled())
  }

  readonly #onAbort = (): void => this.#end(aborted())

  #end(failure: AuthorityFailure): void {
    this.#ended ??= failure
    for (const stop of this.#running) stop(this.#ended)
    this.#running.clear()
  }

  #late(): AuthorityFailure {
    return new AuthorityFailure(
      'AUTHORITY_TIMEOUT',
      `No complete answer within ${this.#timeoutMs} ms. Is the control plane there overloaded or stopped, or the network to it slow or cut?`,
    )
  }
}

function settled(): AuthorityFailure {
  return new AuthorityFailure('CALL_ABORTED', 'Another part of the same question has settled it.')
}

function aborted(): AuthorityFailure {
  return new AuthorityFailure('CALL_ABORTED', 'The caller gave the question up.')
}
