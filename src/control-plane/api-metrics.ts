import type { IncomingMessage, ServerResponse } from 'node:http'

import type { AuthorityMetrics } from '../metrics.ts'
import { mayReadMetrics, METRICS_REFUSED, type MetricsAccess } from '../metrics-access.ts'
import { PATHS } from '../machineid/paths.ts'
import { Refusal } from './refusal.ts'
import { peerOf } from './remote-address.ts'
import { pathOf } from './request-path.ts'

/** Answers GET /metrics, to this machine or to the token for it; false leaves the request to somebody else. */
export function answerMetrics(
  { metrics, access }: { readonly metrics: AuthorityMetrics; readonly access: MetricsAccess },
  request: IncomingMessage,
  response: ServerResponse,
  onError: (response: ServerResponse, error: unknown) => void,
): boolean {
  if (pathOf(request) !== PATHS.metrics || request.method !== 'GET') return false
  response.setHeader('x-content-type-options', 'nosniff')
  if (!mayReadMetrics(access, request, peerOf(request))) {
    onError(response, new Refusal('INSUFFICIENT_SCOPE', METRICS_REFUSED))
    return true
  }
  metrics.text().then(
    (text) =>
      response.writeHead(200, { 'content-type': metrics.contentType, 'cache-control': 'no-store' }).end(text),
    (error: unknown) => onError(response, error),
  )
  return true
}
