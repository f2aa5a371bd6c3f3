import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { listen } from '../../src/http.ts'
import { namingPort } from '../../src/programs/lifecycle.ts'

export interface Balancer {
  readonly port: number
  /** Cuts what is open. */
  readonly close: () => Promise<void>
}

export interface BalancerOptions {
  /** 0 takes a free one. */
  readonly port: number
  /** The variable that holds the port, for whoever finds it taken. */
  readonly variable: string
  /** On this machine. */
  readonly targetPorts: readonly number[]
}

/**
 * Hands each new connection to the next target, and past those that do not accept one. What is sent is not looked at:
 * streams stay open, TLS passes through, and nothing is ever sent twice.
 */
export async function startBalancer({ port, variable, targetPorts }: BalancerOptions): Promise<Balancer> {
  const open = new Set<Socket>()
  const hold = (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  }
  let turn = 0
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (client) => {
    hold(client)
    // It may go before there is anybody to tell.
    client.on('error', () => client.destroy())
    const first = turn++
    const order = targetPorts.map((_, index) => targetPorts[(first + index) % targetPorts.length] ?? 0)
    void join(client, order, hold)
  })
  const listening = await namingPort(variable, listen(server, { host: '127.0.0.1', port }))
  return {
    port: listening.port,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

async function join(client: Socket, ports: readonly number[], hold: (socket: Socket) => void): Promise<void> {
  for (const port of ports) {
    const target = connect({ host: '127.0.0.1', port, noDelay: true })
    hold(target)
    const accepted = await new Promise<boolean>((resolve) => {
      target.once('connect', () => resolve(true))
      target.on('error', () => resolve(false))
    })
    if (!accepted) continue
    client.once('close', () => target.destroy())
    target.on('error', () => client.destroy())
    client.pipe(target).pipe(client)
    return
  }
  client.destroy()
}
