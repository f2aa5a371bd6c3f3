import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import type { Clock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import { jittered } from '../jitter.ts'
import type { Logger } from '../log.ts'
import { httpOptions } from '../machineid/transport.ts'
import { createOutage } from '../outage.ts'
import { redact } from '../redact.ts'
import type { AlertBody } from './alert.ts'
import { signedHeaders } from './webhook-signature.ts'

export interface DeliveryOptions {
  readonly url: URL
  readonly key: Buffer
  readonly timeoutMs: number
  readonly maxWaiting: number
  readonly retryMs: number
  readonly log: Logger
  readonly clock: Clock
}

const MAX_RETRY_MS = 60_000
const GIVE_UP_AFTER_MS = 3_600_000
/** What a sink refuses for what it is, it refuses again. */
const MAX_REFUSALS = 3
const MAY_PASS = new Set([408, 425, 429])
const MAX_ANSWER_BYTES = 64 * 1024

interface Message {
  readonly id: string
  readonly body: string
  /** What it tells of in `dropped`. */
  readonly dropped: number
  readonly since: number
}

/** Alerts on their way to the sink, one after the other. */
export class AlertDelivery {
  readonly #options: DeliveryOptions
  readonly #agent: Agent
  readonly #waiting: Message[] = []
  readonly #wake = new AbortController()
  readonly #end = new AbortController()
  readonly #outage: ReturnType<typeof createOutage>
  #delivering: Promise<void> | undefined
  /** Since the last alert that says so. */
  #dropped = 0

  constructor(options: DeliveryOptions) {
    this.#options = options
    const { timeoutMs, log } = options
    this.#agent = new Agent(httpOptions({ caPem: undefined, connectTimeoutMs: timeoutMs }))
    this.#outage = createOutage(log, 'alerts cannot be delivered')
  }

  /** Does no more now than to write it down. */
  add(bodyOf: (dropped: number) => AlertBody): void {
    const { clock, maxWaiting } = this.#options
    // The oldest but the first, which is being sent and tells how it began.
    while (this.#waiting.length > maxWaiting) this.#drop(this.#waiting.splice(1, 1)[0])
    const dropped = this.#dropped
    this.#dropped = 0
    const body = redact(JSON.stringify(bodyOf(dropped)))
    this.#waiting.push({ id: `msg_${randomUUID()}`, body, dropped, since: clock.now().monotonicMs })
    // In a later tick: nobody who asks for permission waits for it.
    if (this.#delivering === undefined) setImmediate(() => this.#wake.signal.aborted || this.#deliver())
  }

  /** Resolves when nothing waits, or after `graceMs`. */
  async sent(graceMs: number): Promise<void> {
    if (this.#waiting.length === 0) return
    this.#deliver()
    // While it is waited for, the process must go on: nothing else may keep it alive.
    const delivered = new AbortController()
    const late = sleep(graceMs, undefined, { signal: delivered.signal }).catch(() => undefined)
    await Promise.race([this.#delivering, late])
    delivered.abort()
  }

  /** What waits, once more, for at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    const end = setTimeout(() => this.#end.abort(new Error('There is no time left.')), graceMs)
    this.#wake.abort()
    this.#deliver()
    await this.#delivering
    clearTimeout(end)
    const dropped = this.#waiting.length + this.#dropped
    if (dropped > 0) this.#options.log.error({ dropped }, 'alerts were not delivered')
    await this.#agent.destroy()
  }

  #deliver(): void {
    this.#delivering ??= this.#deliverAll().finally(() => {
      this.#delivering = undefined
      // Added while it ended.
      if (this.#waiting.length > 0 && !this.#wake.signal.aborted) this.#deliver()
    })
  }

  async #deliverAll(): Promise<void> {
    let failures = 0
    for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
      // Once it closes each has one more try, whatever came of the one before it.
      const isLast = this.#wake.signal.aborted
      const failure = await this.#post(head)
      if (failure === undefined) this.#outage.worked()
      else this.#outage.failed(failure.reason)
      if (failure !== undefined && this.#end.signal.aborted) return
      failures = failure === undefined ? 0 : failures + 1
      if (failure !== undefined && !isLast && !this.#isHopeless(head, failure, failures)) {
        await this.#pause(failures)
        continue
      }
      failures = 0
      this.#waiting.shift()
      if (failure !== undefined) this.#drop(head)
    }
  }

  #isHopeless({ since }: Message, failure: Failure, failures: number): boolean {
    const ageMs = this.#options.clock.now().monotonicMs - since
    return ageMs >= GIVE_UP_AFTER_MS || (failure.refused && failures >= MAX_REFUSALS)
  }

  #drop(message: Message | undefined): void {
    if (message === undefined) return
    this.#dropped += 1 + message.dropped
    this.#options.log.error({ dropped: this.#dropped, webhook_id: message.id }, 'an alert was dropped')
  }

  async #pause(failures: number): Promise<void> {
    const delayMs = jittered(Math.min(this.#options.retryMs * 2 ** (failures - 1), MAX_RETRY_MS))
    await sleep(delayMs, undefined, { signal: this.#wake.signal, ref: false }).catch(() => undefined)
  }

  async #post({ id, body }: Message): Promise<Failure | undefined> {
    const { url, key, clock, timeoutMs } = this.#options
    const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(timeoutMs)])
    const headers = {
      'content-type': 'application/json',
      ...signedHeaders(key, { id, body, wallMs: clock.now().wallMs }),
    }
    try {
      const answer = await request(url, {
        dispatcher: this.#agent,
        method: 'POST',
        headers,
        body,
        signal,
      })
      // It has been answered, however its body ends.
      await answer.body.dump({ limit: MAX_ANSWER_BYTES, signal }).catch(() => undefined)
      const { statusCode } = answer
      if (statusCode >= 200 && statusCode < 300) return undefined
      const refused = statusCode >= 400 && statusCode < 500 && !MAY_PASS.has(statusCode)
      return { reason: `The sink answered ${statusCode}.`, refused }
    } catch (error) {
      return { reason: messageOf(error), refused: false }
    }
  }
}

interface Failure {
  readonly reason: string
  /** For what it is, rather than for now. */
  readonly refused: boolean
}
