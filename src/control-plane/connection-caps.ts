import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import { isLoopback } from '../loopback.ts'
import { networkOf } from './remote-address.ts'

export interface ConnectionCaps {
  readonly max: number
  /** How many of them may come from this address; those of one IPv6 site count together. */
  readonly perAddress: (address: string) => number
  /** Told of each that is cut. */
  readonly onCut: () => void
}

interface Connection {
  readonly socket: Socket
  readonly network: string
  /** Since when it is the other side's turn to say something. Monotonic milliseconds. */
  sinceMs: number
  request: IncomingMessage | undefined
  response: ServerResponse | undefined
}

const OPERATORS_PER_ADDRESS = 200
/** So many may come before the first that was cut is closed. */
const HEADROOM = 1024

/**
 * Programs of this machine are not limited by where they come from, and neither are proxies of our own, which bring
 * everybody.
 */
export function operatorsPerAddress(trustedProxies: number): (address: string) => number {
  return (address) => (trustedProxies > 0 || isLoopback(address) ? Infinity : OPERATORS_PER_ADDRESS)
}

/**
 * Keeps a server open to newcomers: when there are too many connections, in all or from one address, the one that has
 * been idle longest is cut. One that waits for its answer is never idle; when all do, the newcomer is cut.
 */
export function capConnections(server: Server, { max, perAddress, onCut }: ConnectionCaps): void {
  // By their other end: with TLS a request has another socket than its connection.
  const open = new Map<string, Connection>()
  const cut = ({ socket }: Connection) => {
    open.delete(endOf(socket))
    socket.destroy()
    onCut()
  }
  server.maxConnections = max + HEADROOM
  server.on('connection', (socket: Socket) => {
    const { remoteAddress } = socket
    if (remoteAddress === undefined) return
    const network = networkOf(remoteAddress)
    const sinceMs = performance.now()
    const newcomer: Connection = { socket, network, sinceMs, request: undefined, response: undefined }
    const end = endOf(socket)
    open.set(end, newcomer)
    socket.once('close', () => open.get(end) === newcomer && open.delete(end))
    const most = perAddress(remoteAddress)
    const neighbours = most < open.size ? [...open.values()].filter((one) => one.network === network) : []
    if (neighbours.length > most) cut(idleLongest(neighbours) ?? newcomer)
    else if (open.size > max) cut(idleLongest(open.values()) ?? newcomer)
  })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const connection = open.get(endOf(request.socket))
    if (connection === undefined) return
    Object.assign(connection, { request, response, sinceMs: performance.now() })
    response.once('close', () => (connection.sinceMs = performance.now()))
  })
}

function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}|${remotePort}`
}

function idleLongest(connections: Iterable<Connection>): Connection | undefined {
  let longest: Connection | undefined
  for (const connection of connections) {
    if (isIdle(connection) && connection.sinceMs < (longest?.sinceMs ?? Infinity)) longest = connection
  }
  return longest
}

/** Whoever sends half a question, or does not read its answer, keeps us waiting, and not the other way round. */
function isIdle({ request, response }: Connection): boolean {
  return request?.complete !== true || response?.writableEnded !== false
}
