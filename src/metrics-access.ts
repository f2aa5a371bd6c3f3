import type { IncomingMessage } from 'node:http'

import { carriesToken } from './bearer.ts'
import { comesFromHere } from './loopback.ts'

export interface MetricsAccess {
  /** `METRICS_TOKEN`: who carries it may look from anywhere. */
  readonly token: string | undefined
  /** Something relays requests to here, which need not say so: then none counts as one of this machine. */
  readonly relayed?: boolean
}

/** `peer`: the other end of the connection, where the socket's own is that of a part of ours. */
export function mayReadMetrics(
  { token, relayed = false }: MetricsAccess,
  request: IncomingMessage,
  peer?: string | null,
): boolean {
  return (!relayed && comesFromHere(request, peer)) || (token !== undefined && carriesToken(request, token))
}

export const METRICS_REFUSED =
  'The figures are for this machine, and for METRICS_TOKEN in the header authorization: Bearer ….'
