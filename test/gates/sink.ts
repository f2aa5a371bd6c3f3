import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

import type { AlertBody } from '../../src/gates/alert.ts'

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly alert: AlertBody
}

/** Whoever is told of alerts: a real server that keeps what it gets, and answers 204 unless it is told otherwise. */
export interface Sink {
  readonly url: string
  readonly received: Received[]
  /** Answers the next deliveries, one each. */
  next(...answers: ((response: ServerResponse) => void)[]): void
  /** From now on; `undefined` for 204 again. */
  always(answer: ((response: ServerResponse) => void) | undefined): void
  close(): Promise<void>
}

export const status =
  (statusCode: number, headers: Record<string, string> = {}) =>
  (response: ServerResponse): void =>
    void response.writeHead(statusCode, headers).end()

export const silence = (): void => {}

export async function startSink(): Promise<Sink> {
  const received: Received[] = []
  const answers: ((response: ServerResponse) => void)[] = []
  let always = status(204)
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      const text = body.toString()
      const { url: path = '', headers } = request
      received.push({ path, headers, text, alert: JSON.parse(text) as AlertBody })
      const answer = answers.shift() ?? always
      answer(response)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks/T0K3N`,
    received,
    next: (...more) => void answers.push(...more),
    always: (answer) => void (always = answer ?? status(204)),
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
