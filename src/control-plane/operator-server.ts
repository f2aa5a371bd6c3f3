import type { IncomingMessage, Server } from 'node:http'

import { createWebServer } from '../http.ts'
import { PATHS } from '../machineid/paths.ts'
import type { ErrorAnswerer } from './api-errors.ts'
import { createConsoleFiles } from './console-files.ts'
import type { ControlPlane, ControlPlaneOptions } from './control-plane.ts'
import { answerHealth } from './health.ts'
import { hostAllowed, wrongHost } from './hosts.ts'
import { storeAway } from './nodes/nodes.ts'
import { Refusal } from './refusal.ts'
import { pathOf } from './request-path.ts'
import { SERVER_LIMITS } from './server-limits.ts'

/** The listener of operators: no flood of validates can delay what they do there. */
export function createOperatorServer(
  { loopback, hosts, tls, consoleDir }: ControlPlaneOptions,
  on: Pick<ControlPlane, 'handle' | 'problem' | 'nodes'> & { readonly onError: ErrorAnswerer },
): Server {
  const allowed = hostAllowed({ loopback, hosts })
  const files = createConsoleFiles({ dir: consoleDir, onError: on.onError })
  return createWebServer(SERVER_LIMITS, tls, (request, response) => {
    if (answerHealth(on.problem() ?? storeAway(on.nodes.counted), request, response)) return
    if (!allowed(request.headers.host)) return on.onError(response, wrongHost())
    if (isOfAgents(request)) return on.onError(response, wrongLane())
    if (files.handle(request, response)) return
    on.handle(request, response, request.socket.remoteAddress)
  })
}

/** What an agent lane answers itself. */
const OF_AGENTS = new Set<string>([PATHS.validate, PATHS.validateBatch, PATHS.stops])

function isOfAgents(request: IncomingMessage): boolean {
  return OF_AGENTS.has(pathOf(request))
}

function wrongLane(): Refusal {
  return new Refusal(
    'WRONG_LANE',
    'This port is for operators and answers neither validates nor streams of stops, so that no number of them delays ' +
      'a stop. Agents ask the port that CONTROL_PLANE_PORT names.',
  )
}
