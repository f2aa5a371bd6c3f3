import type { IncomingMessage, ServerResponse } from 'node:http'

import type { HoldpointError } from '../errors.ts'
import { sendJson } from '../http.ts'
import { PATHS } from '../machineid/paths.ts'
import { pathOf } from './request-path.ts'

/** Answers /healthz and /readyz, to anybody; false leaves the request to somebody else. */
export function answerHealth(
  problem: HoldpointError | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const path = pathOf(request)
  if (path !== PATHS.healthz && path !== PATHS.readyz) return false
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  response.setHeader('x-content-type-options', 'nosniff')
  if (path === PATHS.healthz || problem === undefined) sendJson(response, 200, { status: 'ok' })
  else sendJson(response, 503, { status: 'error', code: problem.code })
  return true
}
