import type { IncomingMessage, Server, ServerResponse } from 'node:http'

import { systemClock, type Clock } from '../clock.ts'
import { messageOf, type HoldpointError } from '../errors.ts'
import { answerUnparsable, closeServer, createWebServer, sendJson, type TlsOptions } from '../http.ts'
import type { Logger } from '../log.ts'
import { errorAnswerer } from './api-errors.ts'
import { createApi } from './api.ts'
import { hostAllowed } from './hosts.ts'
import { Refusal } from './refusal.ts'
import { createService, type ControlPlaneService } from './service.ts'
import type { ControlPlaneStore } from './store.ts'
import { createValidateLane } from './validate-lane.ts'

export interface ControlPlaneOptions {
  /** Closed with the control plane. */
  readonly store: ControlPlaneStore
  readonly log: Logger
  /** True when the listener is reachable from this machine only. Then org/create may be open, and Host is checked. */
  readonly loopback: boolean
  /** For org/create and org/plan. Without it org/plan is refused, and org/create too off loopback. */
  readonly platformToken?: string | undefined
  /** Host names beside localhost under which it is reached; with them, Host is checked off loopback too. */
  readonly hosts?: readonly string[] | undefined
  /** To serve HTTPS itself. */
  readonly tls?: TlsOptions | undefined
  readonly clock?: Clock | undefined
  /** Told once when the store can no longer be trusted: nothing is acknowledged from then on. Exit, start anew. */
  readonly onFatal?: ((problem: HoldpointError) => void) | undefined
}

export interface ControlPlane {
  /** Not listening yet: see `listen` in http.ts. */
  readonly server: Server
  readonly service: ControlPlaneService
  /**
   * Accepts nothing new, finishes the answers in progress for up to `graceMs` (default 5000), stores the waiting
   * denials, checkpoints and releases the file. Fine to call twice.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

/** Builds the authority. Nothing listens and no timer runs until the server is told to. */
export function createControlPlane(options: ControlPlaneOptions): ControlPlane {
  const { store, log, loopback, platformToken, clock = systemClock, hosts = [] } = options
  const tellFatal = fatalTeller(options)
  const service = createService({
    store,
    clock,
    log,
    onDenialsLost: (error, denials) => {
      log.error({ denials, reason: messageOf(error) }, 'denials could not be stored')
      tellFatal()
    },
  })
  const allowed = hostAllowed({ loopback, hosts })
  const onError = errorAnswerer({ log, newId: service.newId, tellFatal })
  const lane = createValidateLane({
    reader: store.reader,
    recordDenial: service.denials.record,
    newId: service.newId,
    onError,
  })
  const api = createApi({ service, platformToken, loopback, onError })

  const server = createWebServer(SERVER_LIMITS, options.tls, (request, response) => {
    const problem = store.problem()
    if (answerHealth(store, request, response)) return
    if (problem !== undefined) return onError(response, problem)
    if (!allowed(request.headers.host)) return onError(response, wrongHost())
    if (!lane.handle(request, response)) api(request, response)
  })
  answerUnparsable(server, service.newId)

  let closing: Promise<void> | undefined
  const close = async (graceMs: number | undefined) => {
    await closeServer(server, graceMs === undefined ? {} : { graceMs })
    await service.denials.flush()
    await store.close()
  }
  return { server, service, close: ({ graceMs } = {}) => (closing ??= close(graceMs)) }
}

/** Idle connections outlive those of our own client, so that it is never the server that hangs up first. */
const SERVER_LIMITS = {
  keepAliveTimeout: 65_000,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  connectionsCheckingInterval: 5000,
  maxHeaderSize: 16 * 1024,
}

function wrongHost(): Refusal {
  return new Refusal(
    'HOST_NOT_ALLOWED',
    'This control plane does not answer to that Host name. Use localhost, or add the name to ALLOWED_HOSTS.',
  )
}

/** Tells once that the store can no longer be trusted, whoever found out. */
function fatalTeller({ store, log, onFatal }: ControlPlaneOptions): () => void {
  let told = false
  return () => {
    const problem = store.problem()
    if (problem === undefined || told) return
    told = true
    log.fatal({ code: problem.code }, problem.message)
    onFatal?.(problem)
  }
}

function answerHealth(store: ControlPlaneStore, request: IncomingMessage, response: ServerResponse): boolean {
  if (request.url !== '/healthz' && request.url !== '/readyz') return false
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  const problem = request.url === '/readyz' ? store.problem() : undefined
  if (problem === undefined) sendJson(response, 200, { status: 'ok' })
  else sendJson(response, 503, { status: 'error', code: problem.code })
  return true
}
