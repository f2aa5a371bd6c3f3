import type { Dispatcher } from 'undici'

import type { Clock, Instant } from '../clock.ts'
import type { DenialCode } from '../guard/decision.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import { headRefusal } from './answer-head.ts'
import type { Deadline } from './deadline.ts'
import { failureOf, nothingCameBack } from './transport-failure.ts'

export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>

/** One HTTP request. Built anew for every attempt, so that each has its own nonce. */
export interface Outgoing {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Name, value, name, value, … */
  readonly headers: string[]
  readonly body: string | null
  readonly maxAnswerBytes: number
  /** Why an answer with this head is refused before its body is read. */
  headProblem(status: number, headers: AnswerHeaders): DenialCode | undefined
  /** Called in the tick in which the request is written to its socket. */
  onSent?(): void
}

/** A complete answer: its end was received too. */
export interface Incoming {
  readonly status: number
  readonly body: Uint8Array
  /** When the request was written to its socket. */
  readonly sentAt: Instant
}

export type Outcome =
  | { readonly complete: true; readonly incoming: Incoming }
  | { readonly complete: false; readonly failure: AuthorityFailure; readonly nothingReceived: boolean }

/** Whom the requests go to, and which connections they may use. */
export interface Route {
  readonly origin: string
  readonly dispatcher: Dispatcher
  readonly clock: Clock
}

/** Sends one request. Settles once; whatever comes later is dropped. Never rejects. */
export function exchange(route: Route, outgoing: Outgoing, deadline: Deadline): Promise<Outcome> {
  const failure = deadline.failure()
  if (failure !== undefined) return Promise.resolve({ complete: false, failure, nothingReceived: false })
  return new Promise((resolve) => {
    const handler = new Exchange(route, outgoing, deadline, resolve)
    const { path, method, headers, body } = outgoing
    route.dispatcher.dispatch({ path, method, headers, body }, handler)
  })
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #route: Route
  readonly #outgoing: Outgoing
  readonly #deadline: Deadline
  readonly #settle: (outcome: Outcome) => void
  readonly #chunks: Uint8Array[] = []
  #controller: Dispatcher.DispatchController | undefined
  #sentAt: Instant
  #settled = false
  #anyByte = false
  #status = 0
  #length = 0

  constructor(route: Route, outgoing: Outgoing, deadline: Deadline, settle: (outcome: Outcome) => void) {
    this.#route = route
    this.#outgoing = outgoing
    this.#deadline = deadline
    this.#settle = settle
    this.#sentAt = deadline.startedAt
    deadline.watch(this.#stop)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Given up while it waited for a connection: it must not be sent any more.
    if (this.#settled) return controller.abort(new Error('given up'))
    this.#controller = controller
    this.#sentAt = this.#route.clock.now()
    this.#outgoing.onSent?.()
  }

  onResponseStarted(): void {
    this.#anyByte = true
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: AnswerHeaders): void {
    if (this.#settled || status < 200) return
    this.#status = status
    const code = this.#outgoing.headProblem(status, headers)
    if (code !== undefined) this.#stop(new AuthorityFailure(code, headRefusal(status)))
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#settled) return
    this.#length += chunk.length
    const { maxAnswerBytes } = this.#outgoing
    if (this.#length > maxAnswerBytes) {
      this.#stop(
        new AuthorityFailure('AUTHORITY_BODY_TOO_LARGE', `The answer is over ${maxAnswerBytes} bytes.`),
      )
    } else {
      this.#chunks.push(chunk)
    }
  }

  onResponseEnd(): void {
    if (this.#settled) return
    const failure = this.#deadline.failure()
    if (failure !== undefined) return this.#stop(failure)
    const [first, ...more] = this.#chunks
    const body = more.length === 0 && first !== undefined ? first : Buffer.concat(this.#chunks)
    this.#finish({ complete: true, incoming: { status: this.#status, body, sentAt: this.#sentAt } })
  }

  onResponseError(_: unknown, error: Error): void {
    if (this.#settled) return
    this.#finish({
      complete: false,
      failure: failureOf(error, { origin: this.#route.origin, headRead: this.#status !== 0 }),
      nothingReceived: !this.#anyByte && nothingCameBack(error),
    })
  }

  readonly #stop = (failure: AuthorityFailure): void => {
    if (this.#settled) return
    this.#finish({ complete: false, failure, nothingReceived: false })
    this.#controller?.abort(failure)
  }

  #finish(outcome: Outcome): void {
    this.#settled = true
    this.#deadline.unwatch(this.#stop)
    this.#settle(outcome)
  }
}
