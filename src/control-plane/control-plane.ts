import type { IncomingMessage, Server, ServerResponse } from 'node:http'

import { systemClock, type Clock } from '../clock.ts'
import { messageOf, type HoldpointError } from '../errors.ts'
import { answerUnparsable, closeServer, type TlsOptions } from '../http.ts'
import type { Logger } from '../log.ts'
import { packageVersion } from '../package-version.ts'
import { createAuthorityMetrics, type AuthorityMetrics } from '../metrics.ts'
import { errorAnswerer } from './api-errors.ts'
import { answerMetrics } from './api-metrics.ts'
import { createApi } from './api.ts'
import type { LaneBatch } from './decision-batch.ts'
import { capConnections, operatorsPerAddress } from './connection-caps.ts'
import { cutOf, type CanaryCut } from './drills/canary.ts'
import { createDrillRunMemory } from './drills/drill-run-memory.ts'
import { createDrillRuns, type DrillRunner, type DrillRuns } from './drills/drill-runs.ts'
import { createFeed, type Feed } from './feed.ts'
import { createHousekeeping, type Housekeeping } from './housekeeping.ts'
import { createLagMeter } from './lag.ts'
import { createLaneReporter } from './lane-report.ts'
import { createCallQuota } from './limits.ts'
import { noMailer, type Mailer } from './mail.ts'
import { followNews } from './nodes/node-news.ts'
import { createNodes, type Nodes } from './nodes/nodes.ts'
import { createRates } from './nodes/shared-rates.ts'
import { createOperatorServer } from './operator-server.ts'
import { ownUrl } from './own-url.ts'
import type { AuditRow } from './records.ts'
import { createRecovery, type Recovery, type RecoveryOptions } from './recovery.ts'
import { noteOrigin } from './remote-address.ts'
import { createService, type ControlPlaneService } from './service.ts'
import { createOwnPages } from './sessions/own-pages.ts'
import { createStopEvidenceLog } from './stops/evidence-log.ts'
import { stopOf } from './stops/stop-record.ts'
import type { StopEvidence, StopRecord } from './stops/stop-store.ts'
import type { Superseded } from './stops/stop-streams.ts'
import type { ControlPlaneStore } from './store.ts'
import { createTrust } from './trust.ts'

export type { CanaryCut }

export interface ControlPlaneOptions {
  /** Closed with the control plane. */
  readonly store: ControlPlaneStore
  readonly log: Logger
  /** True when the listeners are reachable from this machine only. Then org/create may be open, and Host is checked. */
  readonly loopback: boolean
  /** For org/create and org/plan. Without it org/plan is refused, and org/create too off loopback. */
  readonly platformToken?: string | undefined
  /** Who carries it may read `/metrics` from anywhere. Without, that is for this machine alone. */
  readonly metricsToken?: string | undefined
  /** Host names beside localhost under which it is reached; with them, Host is checked off loopback too. */
  readonly hosts?: readonly string[] | undefined
  /** How many proxies of our own stand in front of the operator lane. Default 0. */
  readonly trustedProxies?: number | undefined
  /** To serve HTTPS itself. */
  readonly tls?: TlsOptions | undefined
  /** Default: the store's own, where nodes share it, else this machine's. */
  readonly clock?: Clock | undefined
  /** Stores allows too. Default false: denials only. */
  readonly recordAllows?: boolean | undefined
  /** How long decisions are kept, in days. Default 30. */
  readonly retentionDays?: number | undefined
  /** How often a stream without news shows that it is alive, in milliseconds. Default 15,000. */
  readonly feedHeartbeatMs?: number | undefined
  /** Default true. Stops are never limited. */
  readonly limitCalls?: boolean | undefined
  /** Of the operator lane; when more come, those that have been idle longest are cut. Default 2000. */
  readonly maxConnections?: number | undefined
  /** Called after COMMIT, before anybody else is told of it: the stops of all nodes, those of one org in their order. */
  readonly onStops?: ((stops: readonly StopRecord[]) => void) | undefined
  /** Asked for by a drill, on whichever node: until then no question that names this canary is answered. */
  readonly onCut?: ((cut: CanaryCut) => void) | undefined
  /** This replica has opened a stream of stops on another node. */
  readonly onSuperseded?: ((by: Superseded) => void) | undefined
  /** What other nodes did may be missing: all streams of stops must end, and come back for what they missed. */
  readonly onLost?: (() => void) | undefined
  /** How many threads answer validates, for whoever asks for a diagnosis. Default 1. */
  readonly workers?: number | undefined
  /** Told once when the store can no longer be trusted: nothing is acknowledged from then on. Exit, start anew. */
  readonly onFatal?: ((problem: HoldpointError) => void) | undefined
  /** Closed with the control plane. Without one nobody can be mailed, and so no access be recovered. */
  readonly mailer?: Mailer | undefined
  /** Where the links in mails lead. Default: the operator lane, as this machine sees it. */
  readonly consoleUrl?: string | undefined
  /** Where the console's files are. Default: where `npm run build:console` puts them. */
  readonly consoleDir?: URL | undefined
  /** Without one no drill can be started here. */
  readonly drillRunner?: DrillRunner | undefined
  readonly recovery?:
    Partial<Pick<RecoveryOptions, 'workWithinMs' | 'retryAfterMs' | 'maxWaiting'>> | undefined
}

/** What answers everything but validates, on the thread that writes. Validates are answered by agent lanes. */
export interface ControlPlane {
  /** The operator lane: the whole API but validates. Not listening yet: see `listen` in http.ts. */
  readonly operatorServer: Server
  /** The same API for what an agent lane hands on. `peer` is the other end of the connection it came by. */
  readonly handle: (request: IncomingMessage, response: ServerResponse, peer: string | undefined) => void
  readonly service: ControlPlaneService
  readonly housekeeping: Housekeeping
  readonly nodes: Nodes
  readonly recovery: Recovery
  /** Close it first: the drill that runs may still restore what it has stopped. */
  readonly drillRuns: DrillRuns
  /** Its streams have no end of their own: close it before a lane that passes them on. */
  readonly feed: Feed
  readonly metrics: AuthorityMetrics
  /** Stores what an agent lane has decided. Resolves when that is done or was given up; never rejects. */
  readonly accept: (batch: LaneBatch) => Promise<void>
  /** Notes what was observed of streams and stops, and returns at once: it is stored within 100 ms, or logged as lost. */
  readonly observe: (evidence: Partial<StopEvidence>) => void
  /** Why nothing is acknowledged any more; undefined while all is well. */
  readonly problem: () => HoldpointError | undefined
  /** For a lane that could not read: nothing is acknowledged from then on. */
  readonly suspect: (problem: HoldpointError) => void
  /**
   * Accepts nothing new, finishes the answers in progress for up to `graceMs` (default 5000), stores the waiting
   * decisions, checkpoints and releases the file. Close the agent lanes first. Fine to call twice.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

/** Builds the authority. Nothing listens and no timer runs until the server is told to. */
export function createControlPlane(options: ControlPlaneOptions): ControlPlane {
  const { store, log, platformToken, trustedProxies = 0 } = options
  const { shared } = store
  const clock = options.clock ?? shared?.clock ?? systemClock
  const metrics = createAuthorityMetrics()
  const access = { token: options.metricsToken }
  const trust = createTrust(options)
  const service = createService({
    store: {
      ...store,
      // It may grow while the store is open.
      get generation() {
        return store.generation
      },
      // G5: a request that was already under way when a lane found the store broken changes nothing either.
      change: async (orgId, wanted, decide) => {
        const problem = trust.problem()
        if (problem !== undefined) throw problem
        return store.change(orgId, wanted, decide)
      },
    },
    clock,
    log,
    recordAllows: options.recordAllows,
    onDecisionsLost: (error, decisions) => {
      metrics.decisionsLost(decisions)
      log.error({ decisions, reason: messageOf(error) }, 'decisions could not be stored')
      trust.check()
    },
    onCommitted: (rows) => {
      for (const { action } of rows) metrics.changed(action)
      if (news === undefined) return tell(rows)
      // The others are told in the order of all nodes, which only the store knows.
      feed.streams.committed(rows)
    },
    onDecisions: (decisions) => (news ?? feed).decided(decisions),
    onCounted: (counts) => rates.add(counts),
  })
  const tell = (rows: readonly AuditRow[]) => {
    const stops = rows.map(stopOf).filter((stop) => stop !== undefined)
    if (stops.length > 0) options.onStops?.(stops)
    feed.committed(rows)
  }
  const nodes = createNodes({ registry: shared, version: packageVersion(), log })
  const rates = createRates(shared, { nowMs: service.nowMs, log })
  const feed = createFeed({ nowMs: service.nowMs, heartbeatMs: options.feedHeartbeatMs })
  const evidence = createStopEvidenceLog({
    store,
    log,
    hasOthers: shared !== undefined,
    onFailed: trust.check,
  })
  const news =
    shared &&
    followNews({
      news: shared,
      log,
      committed: (rows) => {
        for (const cut of rows.map(cutOf)) if (cut !== undefined) options.onCut?.(cut)
        tell(rows)
      },
      decided: feed.decided,
      wantsDecisionsOf: feed.orgs,
      superseded: (by) => options.onSuperseded?.(by),
      lost: () => {
        options.onLost?.()
        feed.lost()
      },
    })
  const onError = errorAnswerer({ log, newId: service.newId, tellFatal: trust.check })
  const housekeeping = createHousekeeping({
    store,
    service,
    log,
    retentionDays: options.retentionDays ?? 30,
    onOverdue: feed.overdue,
    onFailed: trust.check,
  })

  const handleAs = (
    request: IncomingMessage,
    response: ServerResponse,
    origin: Parameters<typeof noteOrigin>[1],
  ): void => {
    const problem = trust.problem()
    if (problem !== undefined) return onError(response, problem)
    noteOrigin(request, origin)
    if (!answerMetrics({ metrics, access }, request, response, onError)) api(request, response)
  }
  // Agents reach their lane themselves: what they say of where they come from is not believed.
  const handle: ControlPlane['handle'] = (request, response, peer) =>
    handleAs(request, response, { peer, trustedProxies: 0 })
  const operatorServer = createOperatorServer(options, {
    handle: (request, response, peer) =>
      handleAs(request, response, { peer, trustedProxies, ofOperators: true }),
    onError,
    problem: trust.problem,
    nodes,
  })
  answerUnparsable(operatorServer, service.newId)
  operatorServer.on('listening', () => {
    nodes.start()
    evidence.start()
    housekeeping.start()
  })
  const reporter = createLaneReporter({
    lane: 'operator',
    server: operatorServer,
    lag: createLagMeter(),
    onReport: metrics.report,
  })
  capConnections(operatorServer, {
    max: options.maxConnections ?? 2000,
    perAddress: operatorsPerAddress(trustedProxies),
    onCut: reporter.dropped,
  })
  const recovery = createRecovery({
    ...options.recovery,
    service,
    mailer: options.mailer ?? noMailer,
    consoleUrl: () => options.consoleUrl ?? ownUrl(operatorServer, { tls: options.tls !== undefined }),
    log,
    clock,
    limitRequests: options.limitCalls,
    shared,
  })
  const drillRuns = createDrillRuns({
    runner: options.drillRunner,
    keys: service,
    runs: shared ?? createDrillRunMemory(),
    store,
    nowMs: service.nowMs,
    // With a certificate, by the name that stands in it.
    url: () =>
      (options.tls === undefined ? undefined : options.consoleUrl) ??
      ownUrl(operatorServer, { tls: options.tls !== undefined }),
    log,
  })
  const api = createApi({
    store,
    service,
    feed,
    rates,
    drillRuns,
    recovery,
    evidence,
    nodes,
    diagnosis: {
      validateWorkers: options.workers ?? 1,
      decisionLog: options.recordAllows === true ? 'all' : 'denials',
    },
    onCut: (cut) => {
      if (news === undefined) options.onCut?.(cut)
    },
    platformToken,
    loopback: options.loopback,
    ownPages: createOwnPages({ tls: options.tls !== undefined, consoleUrl: options.consoleUrl }),
    limited: options.limitCalls !== false,
    quota: createCallQuota({
      limited: options.limitCalls,
      onLimited: reporter.limited,
      nowMs: () => clock.now().monotonicMs,
      nodes: nodes.count,
    }),
    onError,
  })

  let closing: Promise<void> | undefined
  const close = async (graceMs: number | undefined) => {
    await drillRuns.close()
    feed.close()
    await closeServer(operatorServer, graceMs === undefined ? {} : { graceMs })
    await housekeeping.close()
    await recovery.close()
    await service.decisions.flush()
    await rates.close()
    await evidence.close()
    news?.close()
    await nodes.close()
    await store.close()
  }
  return {
    operatorServer,
    handle,
    service,
    housekeeping,
    nodes,
    recovery,
    drillRuns,
    feed,
    metrics,
    accept: (batch) => {
      metrics.decided(batch.counts)
      return service.decisions.accept(batch)
    },
    observe: (observed) => {
      evidence.observe(observed)
      news?.observed(observed)
    },
    problem: trust.problem,
    suspect: trust.suspect,
    close: ({ graceMs } = {}) => (closing ??= close(graceMs)),
  }
}
