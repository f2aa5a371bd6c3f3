import type { z } from 'zod'

import {
  DecisionRatesQuery,
  DecisionRatesResponse,
  DecisionsQuery,
  DecisionsResponse,
} from '../machineid/wire-evidence.ts'
import { PATHS } from '../machineid/paths.ts'
import { REQUEST_ID } from '../machineid/wire.ts'
import { orgRoute, type ApiContext, type Route } from './api-route.ts'
import { factsOf } from './decision-facts.ts'
import { scanDecisions, type Scan } from './decision-scan.ts'
import { decisionBody } from './evidence-rows.ts'
import { explain } from './explain.ts'
import { MAY_READ_EVIDENCE, MAY_SEE } from './key-kinds.ts'
import type { DecisionRecord, KeyRecord } from './records.ts'
import { notACursor, Refusal } from './refusal.ts'

const PAGE_ROWS = 100
/** How many decisions one call looks at: a page may be short, or empty, and still have a next one. */
const MAX_LOOKED = 50_000

/** What devices were told, and for one question why, and what can be done. */
export function decisionRoutes(context: ApiContext): Route[] {
  const { store, feed } = context
  return [
    orgRoute(context, MAY_READ_EVIDENCE, {
      method: 'get',
      path: PATHS.decisions,
      handler: 'decisions',
      summary: 'Lists past decisions, newest first, and explains those of one request_id',
      input: DecisionsQuery,
      output: DecisionsResponse,
      refusals: ['NOT_FOUND', 'TOO_MANY_STREAMS', 'OVERLOADED'],
      run: async ({ input, key, session, orgId }) => {
        const { request_id: requestId, limit = PAGE_ROWS, cursor: before } = input
        if (requestId?.startsWith(LOCAL) === true) throw madeByTheGuard()
        if (before !== undefined && !REQUEST_ID.test(before)) throw notACursor()
        const scan = { ...scanOf(input), before, limit, maxLooked: MAX_LOOKED }
        // One question is found at once, and explained whatever else the key has open.
        const stream = requestId === undefined ? feed.streams.open({ key, session }, () => {}) : undefined
        const scanned = scanDecisions({ store, turn: feed.streams.turn }, orgId, scan)
        const { decisions, nextBefore } = await scanned.finally(() => stream?.release())
        const rows = decisions.map(decisionBody)
        const explanations = requestId === undefined ? [] : await explanationsOf(context, key, decisions)
        const nothing = rows.length === 0 && nextBefore === null && before === undefined
        return {
          body: {
            orgId,
            decisions: rows.map((row, index) => ({ ...row, explanation: explanations[index] })),
            nextCursor: nextBefore,
            ...(nothing && { note: NONE }),
          },
        }
      },
    }),
    ratesRoute(context),
  ]
}

function ratesRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.decisionRates,
    handler: 'decisions/rates',
    summary: 'Counts the decisions of each of the last 60 minutes, stored or not, by boundary',
    input: DecisionRatesQuery,
    output: DecisionRatesResponse,
    run: async ({ orgId }) => ({ body: { orgId, ...(await context.rates.of(orgId)) } }),
  })
}

const LOCAL = 'local_'
const NONE =
  'Nothing is kept that fits. Allows are kept only while the control plane runs with DECISION_LOG=all, and decisions ' +
  `only for so many days (DECISION_RETENTION_DAYS). The request_id of a change is in GET ${PATHS.audit}.`

function madeByTheGuard(): Refusal {
  return new Refusal(
    'NOT_FOUND',
    'A request_id that begins with local_ was made by the guard itself, because it got no usable answer: this control ' +
      'plane has not seen it. Look for it in the log of the process that was denied; the code beside it says why.',
  )
}

function scanOf(input: z.infer<typeof DecisionsQuery>): Pick<Scan, 'within' | 'filter'> {
  const { request_id: requestId, device, code, boundary, allowed, from, to } = input
  return {
    within: {
      requestId,
      fromMs: from === undefined ? undefined : Date.parse(from),
      toMs: to === undefined ? undefined : Date.parse(to),
    },
    filter: { device, code, boundary, allowed: allowed === undefined ? undefined : allowed === 'true' },
  }
}

async function explanationsOf(
  { store, service }: ApiContext,
  caller: KeyRecord,
  page: readonly DecisionRecord[],
) {
  const { org } = await service.usage(caller.orgId)
  const facts = await factsOf(store, { caller, org, nowMs: service.nowMs() }, page)
  return facts.map(explain)
}
