import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import type { AddressInfo } from 'node:net'

export const PATHS = { idempotent: '/idempotent', plain: '/plain', notices: '/notices' } as const

/** One thing that really happened. */
export interface Arrival {
  readonly invoice: string
  readonly idempotencyKey: string
  /** Of notices. */
  readonly runId?: string
  readonly text?: string
}

/** Where effects go, counted: one that recognises a repeated idempotency key, and two that do not. */
export interface Sinks extends AsyncDisposable {
  readonly url: string
  readonly idempotent: readonly Arrival[]
  readonly plain: readonly Arrival[]
  readonly notices: readonly Arrival[]
  /** Requests that the idempotent one has answered from memory. */
  readonly repeats: readonly Arrival[]
}

export async function startSinks(): Promise<Sinks> {
  const idempotent: Arrival[] = []
  const plain: Arrival[] = []
  const notices: Arrival[] = []
  const repeats: Arrival[] = []
  const known = new Map<string, string>()

  const take = (path: string | undefined, arrival: Arrival): string => {
    const id = `sink_${idempotent.length + plain.length + notices.length}`
    if (path === PATHS.idempotent) {
      const earlier = known.get(arrival.idempotencyKey)
      if (earlier === undefined) known.set(arrival.idempotencyKey, id)
      ;(earlier === undefined ? idempotent : repeats).push(arrival)
      return earlier ?? id
    }
    ;(path === PATHS.plain ? plain : notices).push(arrival)
    return id
  }

  const server = createServer((request, response) => {
    void arrivalOf(request).then(
      (arrival) => response.end(JSON.stringify({ id: take(request.url, arrival) })),
      // Cut off in the middle by the end of whoever sent it: nothing has arrived.
      () => response.destroy(),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    idempotent,
    plain,
    notices,
    repeats,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function arrivalOf(request: IncomingMessage): Promise<Arrival> {
  const body = (await json(request)) as Omit<Arrival, 'idempotencyKey'>
  return { ...body, idempotencyKey: String(request.headers['idempotency-key']) }
}
