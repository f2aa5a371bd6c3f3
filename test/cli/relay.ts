import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { request } from 'undici'

/** Stands between the command line and a control plane. */
export interface Relay extends AsyncDisposable {
  readonly url: string
  /** `POST /api/v1/devices/revoke`, in the order in which they came. */
  readonly asked: string[]
}

/**
 * Passes every request on. `onAnswer` is called between the answer and its way back; what it returns as `false` is
 * never passed back: the connection is cut.
 */
export async function startRelay(
  to: string,
  onAnswer: (asked: string) => Promise<boolean | void> | boolean | void = () => {},
): Promise<Relay> {
  const asked: string[] = []
  const pass = async (incoming: IncomingMessage, response: ServerResponse) => {
    const what = `${incoming.method} ${incoming.url}`
    asked.push(what)
    const { host: _, connection: __, ...headers } = incoming.headers
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const answer = await request(`${to}${incoming.url}`, {
      method: incoming.method as 'GET' | 'POST',
      headers,
      body: chunks.length === 0 ? null : Buffer.concat(chunks),
    })
    const body = Buffer.from(await answer.body.arrayBuffer())
    if ((await onAnswer(what)) === false) return void response.destroy()
    response
      .writeHead(answer.statusCode, { 'content-type': String(answer.headers['content-type']) })
      .end(body)
  }
  const server = createServer((incoming, response) => void pass(incoming, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
