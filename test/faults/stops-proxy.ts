// Between guards and their control plane, over real HTTP: what goes over a stream of stops can be kept back, told twice
// or told in another order, and acknowledgements can get lost. Everything else goes through as it is.
import { createServer, Agent, request, type IncomingMessage, type ServerResponse } from 'node:http'

import { listen } from '../../src/http.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import {
  StopAckRequest,
  StopEvent,
  type StopAckBody,
  type StopEventBody,
} from '../../src/machineid/wire-stops.ts'

/** One event on its way to one stream. */
export interface PassingEvent {
  readonly body: StopEventBody
  /** Sends it on; as often as one likes, whenever one likes. Does nothing once its stream is gone. */
  readonly send: () => void
}

export interface StopsProxy extends AsyncDisposable {
  readonly url: string
  /** What happens to each event. Default: it is sent on at once. */
  onEvent: (event: PassingEvent) => void
  /** Each acknowledgement that was sent, lost or not. */
  readonly acks: readonly StopAckBody[]
  /** Acknowledgements are hung up on. Default false. */
  losesAcks: boolean
  /** New streams are hung up on. Default false. */
  refusesStreams: boolean
  /** A stream that the control plane has ended stays open, for what is still on its way. Default false. */
  keepsStreams: boolean
  /** Hangs up on every open stream. */
  readonly cutStreams: () => void
}

export async function startStopsProxy(target: string): Promise<StopsProxy> {
  const agent = new Agent({ keepAlive: true })
  const streams = new Set<ServerResponse>()
  const acks: StopAckBody[] = []

  const forward = async (incoming: IncomingMessage, response: ServerResponse) => {
    const { method, headers, url: asked } = incoming
    const path = asked?.split('?')[0]
    const isStream = path === PATHS.stops
    const body = Buffer.concat((await incoming.toArray()) as Buffer[])
    if (path === PATHS.stopsAck) acks.push(...StopAckRequest.parse(JSON.parse(body.toString())).acks)
    if ((path === PATHS.stopsAck && proxy.losesAcks) || (isStream && proxy.refusesStreams)) {
      incoming.socket.destroy()
      return
    }
    const upstream = request(
      `${target}${asked}`,
      { method: method ?? 'GET', headers, agent: isStream ? false : agent },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        if (!isStream || answer.statusCode !== 200) return void answer.pipe(response)
        streams.add(response)
        response.flushHeaders()
        pass(answer, response)
      },
    )
    upstream.on('error', () => incoming.socket.destroy())
    response.on('close', () => {
      streams.delete(response)
      upstream.destroy()
    })
    upstream.end(body)
  }

  const pass = (answer: IncomingMessage, response: ServerResponse) => {
    let text = ''
    answer.setEncoding('utf8')
    answer.on('data', (chunk: string) => {
      text += chunk
      for (let at = text.indexOf('\n\n'); at !== -1; at = text.indexOf('\n\n')) {
        const block = text.slice(0, at + 2)
        text = text.slice(at + 2)
        const data = /^data: (.*)$/m.exec(block)?.[1]
        const send = () => {
          if (!response.destroyed) response.write(block)
        }
        if (data === undefined) send()
        else proxy.onEvent({ body: StopEvent.parse(JSON.parse(data)), send })
      }
    })
    answer.on('close', () => {
      if (!proxy.keepsStreams) response.end()
    })
  }

  const server = createServer({ keepAliveTimeout: 65_000 }, (incoming, response) => {
    forward(incoming, response).catch(() => incoming.socket.destroy())
  })
  const { url } = await listen(server, { host: '127.0.0.1', port: 0 })
  const proxy: StopsProxy = {
    url,
    onEvent: ({ send }) => send(),
    acks,
    losesAcks: false,
    refusesStreams: false,
    keepsStreams: false,
    cutStreams: () => {
      for (const stream of streams) stream.destroy()
    },
    [Symbol.asyncDispose]: async () => {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return proxy
}
