import { Client, type Dispatcher } from 'undici'

import { AuthorityFailure } from '../guard/fail-closed.ts'
import { eventHeadProblem } from './answer-head.ts'
import type { AnswerHeaders } from './exchange.ts'
import { failureOf } from './transport-failure.ts'
import { httpOptions } from './transport.ts'

export interface EventSocketOptions {
  readonly origin: string
  readonly caPem: string | undefined
  readonly connectTimeoutMs: number
  readonly path: string
  /** Name, value, name, value, … */
  readonly headers: string[]
  readonly onText: (text: string) => void
  /** Told once, whoever ended it. `retryAfterMs`: not before, said the other side; 0 where it did not say. */
  readonly onEnd: (failure: AuthorityFailure, retryAfterMs: number) => void
}

const RETRY_AFTER_MAX_MS = 120_000

/**
 * One `text/event-stream` on a connection of its own, from its request to its end. It keeps no process alive. Gives back
 * what hangs up.
 */
export function openEventSocket(options: EventSocketOptions): (failure: AuthorityFailure) => void {
  const { origin, path, headers } = options
  const { connect, ...http } = httpOptions(options)
  const client = new Client(origin, {
    ...http,
    connect: (target, callback) =>
      connect(target, (...connected) => {
        connected[1]?.unref()
        callback(...connected)
      }),
    pipelining: 0,
  })
  const handler = new EventSocket(client, options)
  client.dispatch({ path, method: 'GET', headers, body: null }, handler)
  return (failure) => handler.hangUp(failure)
}

class EventSocket implements Dispatcher.DispatchHandler {
  readonly #client: Client
  readonly #options: EventSocketOptions
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true })
  #headRead = false
  #ended = false

  constructor(client: Client, options: EventSocketOptions) {
    this.#client = client
    this.#options = options
  }

  onRequestStart(): void {}

  onResponseStart(_: unknown, status: number, headers: AnswerHeaders): void {
    if (this.#ended || status < 200) return
    this.#headRead = true
    const code = eventHeadProblem(status, headers)
    if (code === undefined) return
    const failure = new AuthorityFailure(
      code,
      `The stream of stops (status ${status}) is refused by its head.`,
    )
    this.hangUp(failure, retryAfterMs(headers))
  }

  onResponseData(_: unknown, chunk: Uint8Array): void {
    if (this.#ended) return
    let text: string
    try {
      text = this.#utf8.decode(chunk, { stream: true })
    } catch {
      return this.hangUp(new AuthorityFailure('AUTHORITY_BAD_BODY', 'The stream of stops is not UTF-8.'))
    }
    this.#options.onText(text)
  }

  onResponseEnd(): void {
    this.hangUp(new AuthorityFailure('AUTHORITY_TRUNCATED', 'The authority ended the stream of stops.'))
  }

  onResponseError(_: unknown, error: Error): void {
    this.hangUp(failureOf(error, { origin: this.#options.origin, headRead: this.#headRead }))
  }

  hangUp(failure: AuthorityFailure, retryMs = 0): void {
    if (this.#ended) return
    this.#ended = true
    void this.#client.destroy(failure)
    this.#options.onEnd(failure, retryMs)
  }
}

function retryAfterMs(headers: AnswerHeaders): number {
  const value = headers['retry-after']
  if (typeof value !== 'string' || !/^\d{1,9}$/.test(value)) return 0
  return Math.min(Number(value) * 1000, RETRY_AFTER_MAX_MS)
}
