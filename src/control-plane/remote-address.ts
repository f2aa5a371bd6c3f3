import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

interface Origin {
  readonly address: string | null
  readonly peer: string | null
  readonly proto: string | undefined
  readonly ofOperators: boolean
}

const origins = new WeakMap<IncomingMessage, Origin>()

/** Where a request comes from: the peer of its connection, or with proxies in front what the first trusted one saw. */
export function remoteAddressOf(request: IncomingMessage): string | null {
  return origins.get(request)?.address ?? request.socket.remoteAddress ?? null
}

/** The other end of its connection, as its lane saw it. */
export function peerOf(request: IncomingMessage): string | null {
  return origins.get(request)?.peer ?? null
}

/** What the first trusted proxy in front saw, `https` or `http`; undefined where there is none or it does not say. */
export function forwardedProtoOf(request: IncomingMessage): string | undefined {
  return origins.get(request)?.proto
}

/** Whether it came by the lane of operators, the only one that takes cookies. */
export function isOfOperators(request: IncomingMessage): boolean {
  return origins.get(request)?.ofOperators === true
}

/**
 * Notes where a request comes from. `peer` is the other end of the connection on which it reached the lane;
 * `trustedProxies` is how many proxies of our own stand in front of that lane.
 */
export function noteOrigin(
  request: IncomingMessage,
  {
    peer = null,
    trustedProxies,
    ofOperators = false,
  }: {
    readonly peer: string | null | undefined
    readonly trustedProxies: number
    readonly ofOperators?: boolean
  },
): void {
  // From the nearest to the farthest: each proxy adds the one it heard from at the end.
  const hops = [peer, ...listIn(request, 'x-forwarded-for').toReversed()]
  const protos = listIn(request, 'x-forwarded-proto').slice(-Math.max(1, trustedProxies))
  const seen = hops[Math.min(trustedProxies, hops.length - 1)] ?? null
  // Whatever else stands there would be text of a stranger's choice in the audit chain.
  origins.set(request, {
    address: seen === peer ? peer : (addressIn(seen) ?? peer),
    peer,
    proto: trustedProxies > 0 ? protos[0]?.toLowerCase() : undefined,
    ofOperators,
  })
}

function listIn({ headers }: IncomingMessage, name: string): string[] {
  const header = headers[name]
  const text = Array.isArray(header) ? header.join(',') : (header ?? '')
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean)
}

const BRACKETED = /^\[([^\]]*)\](?::\d+)?$/
const WITH_PORT = /^([\d.]+):\d+$/
const ZONE = /%[\w.-]+$/

/** Some proxies write a port, brackets or a zone; none of them is part of an address. */
function addressIn(seen: string | null): string | undefined {
  if (seen === null) return undefined
  const address = (BRACKETED.exec(seen)?.[1] ?? WITH_PORT.exec(seen)?.[1] ?? seen).replace(ZONE, '')
  return isIP(address) === 0 ? undefined : address
}

/** Whoever has one IPv6 address has very many: those of one site count together (the first 48 bits). */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=[\d.]+$)/i, '')
  if (!plain.includes(':')) return plain
  const [head = ''] = plain.split('::')
  return [...head.split(':'), '', ''].slice(0, 3).join(':')
}
