import { PATHS } from '../../machineid/paths.ts'
import { MAX_BATCH_BODY_BYTES, type KeyKind } from '../../machineid/wire.ts'
import {
  PresenceRequest,
  PresenceResponse,
  ReplicasQuery,
  ReplicasResponse,
  StopAckRequest,
  StopAckResponse,
  StopHistoryQuery,
  StopHistoryResponse,
  type ReplicaBody,
} from '../../machineid/wire-stops.ts'
import { orgRoute, type ApiContext, type Route } from '../api-route.ts'
import { MAY_SEE } from '../key-kinds.ts'
import { isCanary } from '../drills/canary.ts'
import { keyProblem, mayAskFor } from '../keys.ts'
import type { KeyRecord } from '../records.ts'
import { endedKey, invalidKey, notACursor, notBound } from '../refusal.ts'
import { stopSetRoute } from './api-stop-set.ts'
import { readStops } from './history.ts'
import { inSlices } from './slices.ts'
import type { ReplicaRecord } from './stop-store.ts'

const ASKERS: readonly KeyKind[] = ['runtime', 'full']
/** Three heartbeats of a stream. */
const SILENT_AFTER_MS = 45_000
/** How long a replica is shown after its last sign of life. */
const SHOWN_MS = 86_400_000
const PAGE_STOPS = 20

/** Who listens for stops, and what became of each stop there. */
export function stopRoutes(context: ApiContext): Route[] {
  return [
    ackRoute(context),
    presenceRoute(context),
    replicasRoute(context),
    historyRoute(context),
    stopSetRoute(context),
  ]
}

function ackRoute(context: ApiContext): Route {
  const { store, service, evidence } = context
  return orgRoute(context, ASKERS, {
    method: 'post',
    path: PATHS.stopsAck,
    handler: 'stops/ack',
    summary: 'Says what became of the calls that a pushed stop found in flight',
    input: StopAckRequest,
    output: StopAckResponse,
    evidence: true,
    bodyLimitBytes: MAX_BATCH_BODY_BYTES,
    run: async ({ input: { replica, acks }, key, orgId }) => {
      await assertLive(context, key)
      const known = await store.knownStops(
        orgId,
        acks.map(({ epoch }) => epoch),
      )
      const of = { orgId, keyId: key.keyId, replica, atMs: service.nowMs() }
      const stored = acks.filter(({ epoch }) => known.has(epoch))
      evidence.observe({
        seen: [{ ...of, keyKind: key.kind }],
        acks: stored.map((ack) => ({ ...of, ack })),
      })
      return { body: { orgId, stored: stored.length } }
    },
  })
}

function presenceRoute(context: ApiContext): Route {
  const { service, evidence } = context
  return orgRoute(context, ASKERS, {
    method: 'post',
    path: PATHS.presence,
    handler: 'presence',
    summary: 'Says that a replica is there, or leaves, and what it has in flight',
    input: PresenceRequest,
    output: PresenceResponse,
    evidence: true,
    refusals: ['KEY_NOT_BOUND_TO_DEVICE'],
    run: async ({ input, key, orgId }) => {
      const { replica, timeoutMs, latencyMs, leaving } = input
      const devices = input.devices.filter(({ deviceId }) => mayAskFor(key.bindings, deviceId))
      // As on the stream.
      if (!input.devices.every((one) => devices.includes(one) || isCanary(one.deviceId))) throw notBound()
      await assertLive(context, key)
      const of = { orgId, keyId: key.keyId, keyKind: key.kind, replica, atMs: service.nowMs() }
      evidence.observe({ seen: [{ ...of, devices, timeoutMs, latencyMs, leaving }] })
      return { body: { orgId, keyKind: key.kind } }
    },
  })
}

/** G6: a key may have been burned since it was looked up, while the body was on its way. */
async function assertLive({ store, service }: ApiContext, { keyId }: KeyRecord): Promise<void> {
  const key = await store.findKey(keyId)
  if (key === undefined) throw invalidKey()
  const problem = keyProblem(key, service.nowMs())
  if (problem !== undefined) throw endedKey(problem)
}

function replicasRoute(context: ApiContext): Route {
  const { store, service, evidence, feed } = context
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.replicas,
    handler: 'replicas',
    summary: 'Lists the replicas that were there during the last day',
    input: ReplicasQuery,
    output: ReplicasResponse,
    run: async ({ orgId }) => {
      await evidence.flush()
      const nowMs = service.nowMs()
      const replicas = await inSlices<ReplicaRecord>(feed.streams.turn, (slice) =>
        store.listReplicas(orgId, nowMs - SHOWN_MS, slice),
      )
      const there = replicas.filter(({ leftAtMs }) => leftAtMs === null)
      return { body: { orgId, replicas: there.map((replica) => replicaBody(replica, nowMs)) } }
    },
  })
}

function replicaBody(record: ReplicaRecord, nowMs: number): ReplicaBody {
  const { replica, keyId, keyKind, streamUp, lastSeenAtMs, devices, timeoutMs, latencyMs, lastDenied } =
    record
  return {
    replica,
    keyId,
    keyKind,
    stream: streamUp ? 'up' : 'down',
    lastSeenAt: new Date(lastSeenAtMs).toISOString(),
    silent: nowMs - lastSeenAtMs > SILENT_AFTER_MS,
    devices: [...devices],
    timeoutMs,
    latencyMs,
    lastDenied:
      lastDenied === null
        ? null
        : {
            at: new Date(lastDenied.atMs).toISOString(),
            deviceId: lastDenied.deviceId,
            code: lastDenied.code,
          },
  }
}

function historyRoute(context: ApiContext): Route {
  const { store, evidence, feed } = context
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.stopHistory,
    handler: 'stops/history',
    summary: 'Lists the stops, newest first, and what each replica is known to have made of them',
    input: StopHistoryQuery,
    output: StopHistoryResponse,
    run: async ({ input: { epoch, limit = PAGE_STOPS, cursor }, orgId }) => {
      const beforeEpoch = cursor === undefined ? undefined : epochOf(cursor)
      await evidence.flush()
      const reading = { store, turn: feed.streams.turn }
      const { stops, nextBefore } = await readStops(reading, orgId, { epoch, beforeEpoch, limit })
      return { body: { orgId, stops, nextCursor: nextBefore === undefined ? null : String(nextBefore) } }
    },
  })
}

function epochOf(cursor: string): number {
  const epoch = Number(cursor)
  if (Number.isSafeInteger(epoch) && String(epoch) === cursor && epoch >= 0) return epoch
  throw notACursor()
}
