import type { IncomingMessage, ServerResponse } from 'node:http'

import { comesFromHere } from '../loopback.ts'
import type { AuthorityMetrics } from '../metrics.ts'
import { PATHS } from '../machineid/paths.ts'
import { carriesToken } from './api-access.ts'
import { Refusal } from './refusal.ts'
import { peerOf } from './remote-address.ts'
import { pathOf } from './request-path.ts'

/** Answers GET /metrics, to this machine or to the platform token; false leaves the request to somebody else. */
export function answerMetrics(
  {
    metrics,
    platformToken,
  }: { readonly metrics: AuthorityMetrics; readonly platformToken: string | undefined },
  request: IncomingMessage,
  response: ServerResponse,
  onError: (response: ServerResponse, error: unknown) => void,
): boolean {
  if (pathOf(request) !== PATHS.metrics || request.method !== 'GET') return false
  response.setHeader('x-content-type-options', 'nosniff')
  const admitted =
    comesFromHere(request, peerOf(request)) ||
    (platformToken !== undefined && carriesToken(request, platformToken))
  if (!admitted) {
    onError(response, notForYou())
    return true
  }
  metrics.text().then(
    (text) =>
      response.writeHead(200, { 'content-type': metrics.contentType, 'cache-control': 'no-store' }).end(text),
    (error: unknown) => onError(response, error),
  )
  return true
}

function notForYou(): Refusal {
  return new Refusal(
    'INSUFFICIENT_SCOPE',
    'The figures are for this machine, and for the platform token in the header authorization: Bearer ….',
  )
}
