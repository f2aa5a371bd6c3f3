import type { IncomingMessage, ServerResponse } from 'node:http'

import type { HoldpointError } from '../errors.ts'
import { sendJson } from '../http.ts'
import { PATHS } from '../machineid/wire.ts'

/** Answers /healthz and /readyz, to anybody; false leaves the request to somebody else. */
export function answerHealth(
  problem: HoldpointError | undefined,
  { url, method }: IncomingMessage,
  response: ServerResponse,
): boolean {
  if (url !== PATHS.healthz && url !== PATHS.readyz) return false
  if (method !== 'GET' && method !== 'HEAD') return false
  if (url === PATHS.healthz || problem === undefined) sendJson(response, 200, { status: 'ok' })
  else sendJson(response, 503, { status: 'error', code: problem.code })
  return true
}
