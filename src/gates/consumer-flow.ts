import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import { withAborts } from '../guard/forward-aborts.ts'
import type { HoldPoint } from '../guard/guard.ts'
import { refusalOf, type Refusal } from '../guard/refusal.ts'
import { giveBackUnhandled, handleMessage, type Handled, type MessageHandling } from './consumer-message.ts'
import { IDLE_MS, type ConsumerEnd } from './consumer-options.ts'
import { denialLine, exitDenied, RETRY_MS, waitToAskAgain } from './denial.ts'
import type { EffectsOrNone } from './effects.ts'

type Taken<Message> =
  { readonly state: 'taken'; readonly message: Message } | { readonly state: 'none' | 'failed' }

/** How long a `take` may go on once its signal was aborted. */
const TAKE_GRACE_MS = 1000

/** One asks and takes for all: however many messages are handled at once, an empty queue costs one question at a time. */
export class ConsumerFlow<Message, Result, Effects extends EffectsOrNone> {
  paused = false
  readonly #handling: MessageHandling<Message, Result, Effects>
  readonly #closing: AbortSignal
  readonly #retryMs: number
  readonly #inHand = new Set<Promise<void>>()
  readonly #waits: boolean
  /** Of the run: aborted by a denial that ends it. */
  #denied = new AbortController()
  /** Of the run: it ends, by that or because the consumer or its guard closes. */
  #over = AbortSignal.abort()
  #oneEnded: PromiseWithResolvers<void> | undefined
  #refusal: Refusal | undefined
  #wasDenied = false
  #restMs = 0

  constructor(handling: MessageHandling<Message, Result, Effects>, closing: AbortSignal) {
    this.#handling = handling
    this.#closing = closing
    const { retryMs = RETRY_MS, onDenied = 'wait' } = handling.options
    this.#retryMs = retryMs
    this.#waits = onDenied === 'wait'
  }

  async run(): Promise<ConsumerEnd> {
    const { spot, options } = this.#handling
    const { onDenied, name } = options
    this.#denied = new AbortController()
    this.#over = AbortSignal.any([this.#closing, spot.guard.closingSignal, this.#denied.signal])
    const refusal = await this.#flow()
    await Promise.all(this.#inHand)
    this.paused = false
    this.#refusal = undefined
    this.#restMs = 0
    if (refusal === undefined) return { ended: 'closed' }
    if (onDenied === 'exit') return exitDenied(spot.guard, name, refusal)
    return { ended: 'denied', refusal }
  }

  /** Until it is over: the refusal, where that ended it. What the end of its guard denies says nothing about this work. */
  async #flow(): Promise<Refusal | undefined> {
    const { options, spot } = this.#handling
    const { concurrency = 1 } = options
    while (!this.#over.aborted) {
      if (this.#restMs > 0) await this.#wait()
      else if (this.#inHand.size >= concurrency) await this.#untilOneEnds()
      // Tracked together with what follows, so that a shutdown waits until the broker knows how each message ended.
      else await spot.guard.track(undefined, () => this.#next())
    }
    return this.#closing.aborted || spot.guard.closingSignal.aborted ? undefined : this.#refusal
  }

  /** One promise for all of them: to race those in hand would leave something at the slowest each time. */
  #untilOneEnds(): Promise<void> {
    this.#oneEnded ??= Promise.withResolvers()
    return this.#oneEnded.promise
  }

  /** Asks, takes, and begins to handle. */
  async #next(): Promise<void> {
    const { spot, options } = this.#handling
    const { guard, unchosen: surface } = spot
    const at: HoldPoint = { surface, boundary: 'task', tool: options.name }
    const ran = await guard.run(at, ({ signal }) => this.#take(signal))
    if (!ran.allowed) return this.#deny(refusalOf(ran.decision))
    if (this.paused) guard.log.info({ gate: options.name }, 'allowed again, going on')
    this.paused = false
    const taken = ran.value
    if (taken.state === 'taken')
      this.#begin(taken.message, this.#over.aborted ? giveBackUnhandled : handleMessage)
    else this.#rest(taken.state === 'none' ? (options.idleMs ?? IDLE_MS) : this.#retryMs)
  }

  /** A broker that heeds no signal holds no end up: what it gives later is given back then. */
  async #take(stopped: AbortSignal): Promise<Taken<Message>> {
    if (this.#over.aborted) return { state: 'none' }
    const answered = new AbortController()
    const ending = new AbortController()
    const taking = withAborts(ending, [stopped, this.#over], () => this.#ask(ending.signal))
    const taken = await Promise.race([taking, this.#longOver(answered.signal)])
    answered.abort()
    if (taken !== undefined) return taken
    void taking.then((late) => late.state === 'taken' && this.#begin(late.message, giveBackUnhandled))
    return { state: 'none' }
  }

  /** Undefined a while after it is over, or at once when `answered`. */
  async #longOver(answered: AbortSignal): Promise<undefined> {
    try {
      if (!this.#over.aborted) await once(this.#over, 'abort', { signal: answered })
      await sleep(TAKE_GRACE_MS, undefined, { signal: answered })
    } catch {
      // Answered.
    }
    return undefined
  }

  async #ask(signal: AbortSignal): Promise<Taken<Message>> {
    const { spot, options } = this.#handling
    try {
      const message = await options.take({ signal })
      return message === undefined || message === null ? { state: 'none' } : { state: 'taken', message }
    } catch (cause) {
      if (!signal.aborted)
        spot.guard.log.error({ gate: options.name, err: messageOf(cause) }, 'taking a message failed')
      return { state: 'failed' }
    }
  }

  #begin(message: Message, handle: typeof handleMessage): void {
    const { guard } = this.#handling.spot
    const settled = guard
      .track(undefined, () => handle(this.#handling, message))
      .then((handled) => {
        this.#inHand.delete(settled)
        this.#oneEnded?.resolve()
        this.#oneEnded = undefined
        this.#after(handled)
      })
    this.#inHand.add(settled)
  }

  #after(handled: Handled): void {
    const isAgain = this.#wasDenied
    this.#wasDenied = handled.next === 'denied'
    if (handled.next === 'rest') this.#rest(this.#retryMs)
    // It may be about this message alone, such as the stop of its tenant, which must not hold up the others: the next
    // question tells. Two in a row are a queue that has nothing else.
    if (handled.next === 'denied' && (isAgain || !this.#waits)) this.#deny(handled.refusal)
  }

  #deny(refusal: Refusal): void {
    this.#refusal = refusal
    if (this.#waits) this.#rest(this.#retryMs)
    else this.#denied.abort(new Error('This run was denied, and ends.'))
  }

  #rest(ms: number): void {
    this.#restMs = Math.max(this.#restMs, ms)
  }

  async #wait(): Promise<void> {
    const restMs = this.#restMs
    this.#restMs = 0
    if (this.#refusal !== undefined) this.#pause(this.#refusal)
    this.#refusal = undefined
    await waitToAskAgain(restMs, this.#over)
  }

  #pause(refusal: Refusal): void {
    const { spot, options } = this.#handling
    const line = { gate: options.name, ...denialLine(refusal), retry_ms: this.#retryMs }
    if (!this.paused) spot.guard.log.warn(line, 'denied, waiting')
    this.paused = true
  }
}
