import type { RequestListener, Server } from 'node:http'

import { systemClock, type Clock } from '../clock.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { answerUnparsable, closeServer, createWebServer, type TlsOptions } from '../http.ts'
import type { Logger } from '../log.ts'
import type { LaneReport } from '../metrics.ts'
import { errorAnswerer, type ErrorAnswerer } from './api-errors.ts'
import type { LaneBatch } from './decision-batch.ts'
import { createDecisionLog } from './decision-log.ts'
import { answerHealth } from './health.ts'
import { hostAllowed, wrongHost } from './hosts.ts'
import { uuidv7 } from './ids.ts'
import { createLagMeter } from './lag.ts'
import { createLaneReporter } from './lane-report.ts'
import { createValidateQuota, VALIDATE_LIMITS, type NodesCounted, type ValidateLimits } from './limits.ts'
import { Refusal } from './refusal.ts'
import { SERVER_LIMITS } from './server-limits.ts'
import type { CanaryCut } from './control-plane.ts'
import { createLaneCuts } from './stops/lane-cuts.ts'
import { createLaneStops } from './stops/lane-stops.ts'
import type { StopEvidence, StopReader } from './stops/stop-store.ts'
import { createStopStreams, type StopStreams } from './stops/stop-streams.ts'
import type { DecisionReader } from './store.ts'
import { createValidateLane } from './validate-lane.ts'

export interface AgentLaneOptions {
  /** Of this lane alone. */
  readonly reader: DecisionReader
  readonly stops: StopReader
  /** Gets everything but validates and streams of stops. */
  readonly forward: RequestListener
  /** Hands decisions over to be stored. Resolves when they are, or were given up; never rejects. */
  readonly deliver: (batch: LaneBatch) => Promise<void>
  /** Told what was observed of streams of stops. */
  readonly observe: (evidence: StopEvidence) => void
  readonly log: Logger
  /** True when the listener is reachable from this machine only. */
  readonly loopback: boolean
  /** Host names beside localhost under which it is reached. */
  readonly hosts?: readonly string[] | undefined
  readonly tls?: TlsOptions | undefined
  readonly clock?: Clock | undefined
  /** Why a balancer should rather ask another node, while this one goes on to answer what it can. Default: never. */
  readonly storeAway?: (() => HoldpointError | undefined) | undefined
  /** How many nodes there are: this one answers its part of what `limits` allow. Default 1. */
  readonly nodes?: NodesCounted | undefined
  /** Delivers allows too. Default false. */
  readonly recordAllows?: boolean | undefined
  readonly limits?: ValidateLimits | undefined
  /** Validates are refused while the event loop is later than this, in milliseconds. Default 1000. */
  readonly shedAtLagMs?: number | undefined
  /** More are hung up on. Default 20,000. */
  readonly maxConnections?: number | undefined
  /** Why the store can no longer be trusted, as anybody else found out; undefined while all is well. */
  readonly problem: () => HoldpointError | undefined
  /** Told what this lane found out: nothing may be acknowledged from then on. */
  readonly onSuspect: (problem: HoldpointError) => void
  /** Of streams of stops: how often one without news shows that it lives, in milliseconds. Default 15,000. */
  readonly stopHeartbeatMs?: number | undefined
  /** Streams of stops of one org. Default 10,000; and three quarters of the connections are streams at most. */
  readonly maxStopStreams?: number | undefined
  /** In figures. Default `agent`. */
  readonly name?: string | undefined
  readonly onReport?: ((report: LaneReport) => void) | undefined
}

export interface AgentLane extends Pick<StopStreams, 'stopped' | 'superseded' | 'lost'> {
  /** Not listening yet: see `listen` in http.ts. */
  readonly server: Server
  /** No question that names this canary is answered until then. */
  readonly cut: (cut: CanaryCut) => void
  /** Ends the streams, accepts nothing new, finishes the answers in progress for up to `graceMs` (default 5000), delivers what waits. */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

/**
 * The lane that agents use. It answers validates and tells of stops itself, and hands on everything else; it holds no
 * reference to the rest of the control plane, so it can run in a thread of its own, where nothing that anybody asks of
 * it delays a stop.
 */
export function createAgentLane(options: AgentLaneOptions): AgentLane {
  const { reader, forward, log, clock = systemClock, problem, shedAtLagMs = 1000 } = options
  const { maxConnections = 20_000 } = options
  const nowMs = () => Math.floor(clock.now().wallMs)
  const newId = () => uuidv7(nowMs())
  const onError = suspicious(errorAnswerer({ log, newId, tellFatal: () => {} }), options.onSuspect)
  const lag = createLagMeter()
  const allowed = hostAllowed(options)
  const decisions = createDecisionLog({
    write: options.deliver,
    handsOver: true,
    nowMs,
    recordAllows: options.recordAllows,
    // Told by whoever stores them.
    onLost: () => {},
  })

  const server = createWebServer(SERVER_LIMITS, options.tls, (request, response) => {
    const found = problem()
    if (answerHealth(found ?? options.storeAway?.(), request, response)) return
    if (found !== undefined) return onError(response, found)
    if (!allowed(request.headers.host)) return onError(response, wrongHost())
    if (!validates.handle(request, response) && !stops(request, response)) forward(request, response)
  })
  const reporter = createLaneReporter({
    lane: options.name ?? 'agent',
    server,
    lag,
    onReport: options.onReport,
  })
  const newQuota = () =>
    createValidateQuota({
      limits: options.limits ?? VALIDATE_LIMITS,
      onLimited: reporter.limited,
      nodes: options.nodes,
    })
  const shed = () => {
    if (lag.lagMs() <= shedAtLagMs) return
    reporter.shed()
    throw overloaded()
  }
  const cuts = createLaneCuts(nowMs)
  const validates = createValidateLane({
    reader,
    record: decisions.record,
    newId,
    nowMs,
    quota: newQuota(),
    isCut: cuts.isCut,
    shed,
    problem,
    onError,
  })
  const streams = createStopStreams({
    reader,
    stops: options.stops,
    observe: options.observe,
    nowMs,
    problem,
    heartbeatMs: options.stopHeartbeatMs,
    maxPerOrg: options.maxStopStreams,
    maxInAll: Math.ceil(maxConnections * STREAMS_OF_CONNECTIONS),
    onFailed: (error) => {
      log.error({ reason: messageOf(error) }, 'stops could not be read')
      if (isSuspect(error)) options.onSuspect(error)
    },
  })
  const stops = createLaneStops({ reader, streams, nowMs, quota: newQuota(), shed, onError })
  server.maxConnections = maxConnections
  answerUnparsable(server, newId)

  let closing: Promise<void> | undefined
  const close = async (graceMs: number | undefined) => {
    streams.close()
    await closeServer(server, graceMs === undefined ? {} : { graceMs })
    streams.flush()
    await decisions.flush()
  }
  return {
    server,
    stopped: streams.stopped,
    superseded: streams.superseded,
    lost: streams.lost,
    cut: cuts.cut,
    close: ({ graceMs } = {}) => (closing ??= close(graceMs)),
  }
}

/** The others are for questions. */
const STREAMS_OF_CONNECTIONS = 3 / 4

function overloaded(): Refusal {
  return new Refusal(
    'OVERLOADED',
    'The control plane gets more questions than it can answer in time, so it answers none: take it as a no. Raise ' +
      'VALIDATE_WORKERS, or lower VALIDATES_PER_SECOND_PER_KEY.',
    { retryAfterSeconds: 1 },
  )
}

/** After these what is on the disk is unknown, and reading again can seem to work. */
const SUSPECT = new Set(['STORE_IO', 'STORE_CORRUPT', 'STORE_NOT_WRITABLE'])

function isSuspect(error: unknown): error is HoldpointError {
  return error instanceof HoldpointError && SUSPECT.has(error.code)
}

function suspicious(answer: ErrorAnswerer, onSuspect: (problem: HoldpointError) => void): ErrorAnswerer {
  return (response, error, handler) => {
    if (isSuspect(error)) onSuspect(error)
    answer(response, error, handler)
  }
}
