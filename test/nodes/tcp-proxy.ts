// Between a node and its Postgres: a network that can be cut, held up and mended.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/**
 * - `fine`: everything passes.
 * - `reset`: what is open is reset on both sides, and so is what is opened.
 * - `held`: nothing passes, and nobody is told. What was sent meanwhile arrives when the network is mended, also from
 *   a sender that has long given up: TCP loses nothing by itself.
 * - `mute`: what the node sends is held, what Postgres answers passes.
 * - `deaf`: the other way round: what the node asks for is done, and it does not hear of it.
 * - `slow`: each piece takes SLOW_MS longer.
 */
export const NETWORKS = ['fine', 'reset', 'held', 'mute', 'deaf', 'slow'] as const
export type Network = (typeof NETWORKS)[number]

export interface TcpProxy extends AsyncDisposable {
  readonly port: number
  readonly set: (network: Network) => void
}

const SLOW_MS = 30
const HELD: Readonly<Record<'up' | 'down', readonly Network[]>> = {
  up: ['held', 'mute'],
  down: ['held', 'deaf'],
}

/** Forwards each connection to 127.0.0.1:`targetPort`. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  let network: Network = 'fine'
  const sockets = new Set<Socket>()
  const flows = new Set<() => void>()

  const forward = (from: Socket, to: Socket, direction: 'up' | 'down') => {
    const waiting: (Buffer | 'end')[] = []
    let delayed = false
    const deliver = (piece: Buffer | 'end') => {
      if (piece !== 'end') return void (to.destroyed || to.write(piece))
      flows.delete(flow)
      to.end()
    }
    const flow = () => {
      while (!delayed && !HELD[direction].includes(network)) {
        const piece = waiting.shift()
        if (piece === undefined) return
        if (network !== 'slow') deliver(piece)
        else {
          delayed = true
          setTimeout(() => {
            delayed = false
            deliver(piece)
            flow()
          }, SLOW_MS)
        }
      }
    }
    flows.add(flow)
    from.on('data', (chunk: Buffer) => {
      waiting.push(chunk)
      flow()
    })
    from.on('close', () => {
      waiting.push('end')
      flow()
    })
  }
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((node) => {
    keep(node)
    if (network === 'reset') return void node.resetAndDestroy()
    const postgres = connect({ port: targetPort, host: '127.0.0.1' })
    keep(postgres)
    forward(node, postgres, 'up')
    forward(postgres, node, 'down')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as AddressInfo).port,
    set: (next) => {
      network = next
      if (next === 'reset') for (const socket of sockets) socket.resetAndDestroy()
      for (const flow of flows) flow()
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}
