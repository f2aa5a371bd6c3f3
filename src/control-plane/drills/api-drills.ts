import {
  DiagnosisQuery,
  DiagnosisResponse,
  DrillCutRequest,
  DrillCutResponse,
  DrillQuery,
  DrillResponse,
  DrillsQuery,
  DrillsResponse,
  DrillStoreRequest,
  DrillStoreResponse,
  MAX_REPORT_BYTES,
  SigningKeyQuery,
  SigningKeyResponse,
} from '../../machineid/wire-drills.ts'
import { PATHS } from '../../machineid/paths.ts'
import { orgRoute, type ApiContext, type Route } from '../api-route.ts'
import { MAY_RESTORE, MAY_SEE } from '../key-kinds.ts'
import { drillRunRoutes } from './api-drill-run.ts'
import { notACursor, Refusal } from '../refusal.ts'
import { inSlices } from '../stops/slices.ts'
import type { ReplicaRecord } from '../stops/stop-store.ts'

const PAGE_DRILLS = 100
const DRILL_ID = /^[a-z0-9-]{1,64}$/
/** Streams that are noted as open were heard of within a day, or their lane is gone. */
const STREAM_MS = 86_400_000

/** Drills: kept, signed, shown; and what one asks of the authority while it runs. */
export function drillRoutes(context: ApiContext): Route[] {
  return [
    // Before those with an id in their path.
    ...drillRunRoutes(context),
    storeRoute(context),
    listRoute(context),
    cutRoute(context),
    drillRoute(context),
    signingKeyRoute(context),
    diagnosisRoute(context),
  ]
}

function storeRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_RESTORE, {
    method: 'post',
    path: PATHS.drills,
    handler: 'drills',
    summary: 'Keeps the report of a drill, checked against the audit and signed',
    input: DrillStoreRequest,
    output: DrillStoreResponse,
    refusals: ['DRILL_EXISTS'],
    bodyLimitBytes: MAX_REPORT_BYTES,
    run: async ({ input: { report }, caller, orgId }) => ({
      body: { orgId, drill: await context.service.storeDrill(caller, orgId, report) },
    }),
  })
}

function listRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.drills,
    handler: 'drills/list',
    summary: 'Lists the drills, newest first',
    input: DrillsQuery,
    output: DrillsResponse,
    run: async ({ input: { limit = PAGE_DRILLS, cursor: before }, orgId }) => {
      if (before !== undefined && !DRILL_ID.test(before)) throw notACursor()
      // One more than the page, to know whether there is a next one.
      const found = await context.store.listDrills(orgId, { before, limit: limit + 1 })
      const drills = found.slice(0, limit)
      const nextCursor = drills.length < found.length ? (drills.at(-1)?.drillId ?? null) : null
      return { body: { orgId, drills, nextCursor } }
    },
  })
}

function drillRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.drill,
    handler: 'drills/show',
    summary: 'Shows one drill as it was signed',
    input: DrillQuery,
    output: DrillResponse,
    refusals: ['NOT_FOUND'],
    run: async ({ id, orgId }) => {
      const drill = await context.store.findDrill(orgId, id)
      if (drill === undefined)
        throw new Refusal('NOT_FOUND', `The org has no such drill. See GET ${PATHS.drills}.`)
      return { body: { orgId, drill } }
    },
  })
}

function cutRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_RESTORE, {
    method: 'post',
    path: PATHS.drillCut,
    handler: 'drills/cut',
    summary: 'Leaves the questions of a canary without an answer for a while, or ends that with 0 seconds',
    input: DrillCutRequest,
    output: DrillCutResponse,
    run: async ({ input, caller, orgId }) => {
      const cut = await context.service.cutCanary(caller, orgId, input)
      context.onCut(cut)
      return { body: { orgId, deviceId: cut.deviceId, until: new Date(cut.untilMs).toISOString() } }
    },
  })
}

function signingKeyRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.signingKey,
    handler: 'org/signing-key',
    summary: 'The public key that drills of the org are signed with',
    input: SigningKeyQuery,
    output: SigningKeyResponse,
    run: async ({ orgId }) => ({
      body: { orgId, algorithm: 'Ed25519', publicKey: await context.service.signingKey(orgId) },
    }),
  })
}

function diagnosisRoute(context: ApiContext): Route {
  const { store, service, evidence, feed, diagnosis, nodes } = context
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.diagnosis,
    handler: 'diagnosis',
    summary: 'How the authority is set up, for whoever looks for a weak spot',
    input: DiagnosisQuery,
    output: DiagnosisResponse,
    run: async ({ orgId }) => {
      await evidence.flush()
      const nowMs = service.nowMs()
      const replicas = await inSlices<ReplicaRecord>(feed.streams.turn, (slice) =>
        store.listReplicas(orgId, nowMs - STREAM_MS, slice),
      )
      return {
        body: {
          orgId,
          now: new Date(nowMs).toISOString(),
          store: { ...(await store.durability()), generation: store.generation },
          ...diagnosis,
          nodes: nodes.count(),
          streams: replicas.filter(({ streamUp }) => streamUp).length,
        },
      }
    },
  })
}
