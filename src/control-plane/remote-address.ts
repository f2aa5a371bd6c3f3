import type { IncomingMessage } from 'node:http'

import { isLoopback } from '../loopback.ts'

interface Origin {
  readonly address: string | null
  /** Whether proxies that are not trusted say that the request comes from somewhere else. */
  readonly relayed: boolean
}

const origins = new WeakMap<IncomingMessage, Origin>()

/** Where a request comes from: the peer of its connection, or with proxies in front what the first trusted one saw. */
export function remoteAddressOf(request: IncomingMessage): string | null {
  return origins.get(request)?.address ?? request.socket.remoteAddress ?? null
}

/** True only when it comes from this machine, and no proxy says otherwise. */
export function comesFromHere(request: IncomingMessage): boolean {
  const address = remoteAddressOf(request)
  return address !== null && isLoopback(address) && origins.get(request)?.relayed !== true
}

/**
 * Notes where a request comes from. `peer` is the other end of the connection on which it reached the lane;
 * `trustedProxies` is how many proxies of our own stand in front, as TRUST_PROXY has it.
 */
export function noteOrigin(
  request: IncomingMessage,
  { peer, trustedProxies }: { readonly peer: string | undefined; readonly trustedProxies: number },
): void {
  // From the nearest to the farthest: each proxy adds the one it heard from at the end.
  const hops = [peer ?? null, ...forwardedFor(request).toReversed()]
  const trusted = Math.min(trustedProxies, hops.length - 1)
  origins.set(request, { address: hops[trusted] ?? null, relayed: trusted < hops.length - 1 })
}

function forwardedFor({ headers }: IncomingMessage): string[] {
  const header = headers['x-forwarded-for']
  const text = Array.isArray(header) ? header.join(',') : (header ?? '')
  return text
    .split(',')
    .map((address) => address.trim())
    .filter(Boolean)
}
