import { buildConnector, Client, Pool, type Dispatcher } from 'undici'

import type { Clock } from '../clock.ts'
import { AuthorityFailure } from '../guard/fail-closed.ts'
import type { Deadline } from './deadline.ts'
import { exchange, type Incoming, type Outcome, type Outgoing } from './exchange.ts'

export interface TransportOptions {
  readonly origin: string
  readonly caPem: string | undefined
  /** False: one connection per call, so that no answer can be left over on it. */
  readonly keepAlive: boolean
  readonly connectTimeoutMs: number
  readonly clock: Clock
}

/** Node's servers close idle connections after 5 s. Ours go before, or a question could meet the closing. */
const IDLE_MS = 4000
/** So that a moved DNS name or a drained node is noticed. */
const MAX_SOCKET_LIFE_MS = 60_000
const MAX_CONNECTIONS = 128

/** How this client speaks HTTP, whatever it is for. */
export function httpOptions({
  caPem,
  connectTimeoutMs,
}: Pick<TransportOptions, 'caPem' | 'connectTimeoutMs'>) {
  return {
    connect: buildConnector({
      ...(caPem === undefined ? {} : { ca: caPem }),
      // Said here, so that no environment variable can say otherwise.
      rejectUnauthorized: true,
      allowH2: false,
      timeout: connectTimeoutMs,
    }),
    allowH2: false,
    useMilo: false,
    // Both off: whoever asks has a deadline over them.
    headersTimeout: 0,
    bodyTimeout: 0,
  } satisfies Client.Options
}

/** The way from this client to the network for all but the stream of stops. Follows no redirect and no proxy variable; speaks HTTP/1.1. */
export class Transport {
  readonly #origin: string
  readonly #clock: Clock
  readonly #clientOptions: Client.Options
  readonly #pool: Pool | undefined
  readonly #oneShots = new Set<Client>()
  #closed = false

  constructor({ origin, caPem, keepAlive, connectTimeoutMs, clock }: TransportOptions) {
    this.#origin = origin
    this.#clock = clock
    this.#clientOptions = {
      ...httpOptions({ caPem, connectTimeoutMs }),
      keepAliveTimeout: IDLE_MS,
      keepAliveMaxTimeout: IDLE_MS,
      keepAliveTimeoutThreshold: 1000,
    }
    this.#pool = keepAlive
      ? new Pool(origin, {
          ...this.#clientOptions,
          connections: MAX_CONNECTIONS,
          clientTtl: MAX_SOCKET_LIFE_MS,
        })
      : undefined
  }

  /**
   * Sends what `prepare` builds. With `retry`, once more (built anew, on a connection of its own) when the
   * connection failed before any byte of an answer; never after an answer, which would be shopping for another.
   */
  async send<T extends Outgoing>(
    prepare: () => T,
    deadline: Deadline,
    { retry }: { readonly retry: boolean },
  ): Promise<{ readonly outgoing: T; readonly incoming: Incoming }> {
    let outgoing = prepare()
    let outcome = await this.#attempt(outgoing, deadline)
    if (retry && !outcome.complete && outcome.nothingReceived && !this.#closed) {
      outgoing = prepare()
      outcome = await this.#oneShot(outgoing, deadline)
    }
    if (!outcome.complete) throw outcome.failure
    return { outgoing, incoming: outcome.incoming }
  }

  /** Ends every connection. Questions on them, and later ones, are denied `GUARD_SHUTTING_DOWN`. */
  async close(): Promise<void> {
    this.#closed = true
    const reason = shuttingDown()
    await Promise.all([this.#pool?.destroy(reason), ...[...this.#oneShots].map((one) => one.destroy(reason))])
  }

  #attempt(outgoing: Outgoing, deadline: Deadline): Promise<Outcome> {
    if (this.#closed) throw shuttingDown()
    return this.#pool === undefined
      ? this.#oneShot(outgoing, deadline)
      : this.#over(this.#pool, outgoing, deadline)
  }

  async #oneShot(outgoing: Outgoing, deadline: Deadline): Promise<Outcome> {
    const client = new Client(this.#origin, { ...this.#clientOptions, pipelining: 0 })
    this.#oneShots.add(client)
    const outcome = await this.#over(client, outgoing, deadline)
    this.#oneShots.delete(client)
    void client.destroy()
    return outcome
  }

  #over(dispatcher: Dispatcher, outgoing: Outgoing, deadline: Deadline): Promise<Outcome> {
    return exchange({ origin: this.#origin, dispatcher, clock: this.#clock }, outgoing, deadline)
  }
}

function shuttingDown(): AuthorityFailure {
  return new AuthorityFailure('GUARD_SHUTTING_DOWN', 'The client is closed.')
}
