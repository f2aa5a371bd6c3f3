import type { z } from 'zod'

import { DecisionsQuery, DecisionsResponse } from '../machineid/wire-evidence.ts'
import { MAX_BATCH_DEVICES, PATHS, REQUEST_ID } from '../machineid/wire.ts'
import { orgRoute, type ApiContext, type Route } from './api-route.ts'
import { factsOf } from './decision-facts.ts'
import { decisionBody } from './evidence-rows.ts'
import { explain } from './explain.ts'
import type { DecisionRecord, KeyRecord } from './records.ts'
import { Refusal } from './refusal.ts'
import type { DecisionFilter } from './store.ts'

const PAGE_ROWS = 100

/** What devices were told, and for one question why, and what can be done. */
export function decisionRoutes(context: ApiContext): Route[] {
  const { store } = context
  return [
    orgRoute(context, ['viewer', 'operator', 'admin', 'full'], {
      method: 'get',
      path: PATHS.decisions,
      handler: 'decisions',
      summary: 'Lists past decisions, newest first, and explains those of one request_id',
      input: DecisionsQuery,
      output: DecisionsResponse,
      refusals: ['NOT_FOUND'],
      run: async ({ input, key, orgId }) => {
        if (input.request_id?.startsWith(LOCAL) === true) throw madeByTheGuard()
        const { limit = PAGE_ROWS, cursor: before } = input
        if (before !== undefined && !REQUEST_ID.test(before)) throw noCursor()
        const found = await store.listDecisions(orgId, filterOf(input), {
          before,
          limit: limit + MAX_BATCH_DEVICES,
        })
        const page = wholeQuestions(found, limit)
        const more = page.length < found.length
        const explained = input.request_id === undefined ? [] : await explanationsOf(context, key, page)
        return {
          body: {
            orgId,
            decisions: page.map((record, index) => ({
              ...decisionBody(record),
              ...(explained.length > 0 && { explanation: explained[index] }),
            })),
            nextCursor: more ? (page.at(-1)?.requestId ?? null) : null,
            ...(page.length === 0 && before === undefined && { note: NONE }),
          },
        }
      },
    }),
  ]
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

function noCursor(): Refusal {
  return new Refusal('BAD_REQUEST', '"cursor" must be the nextCursor of the page before.')
}

function filterOf(input: z.infer<typeof DecisionsQuery>): DecisionFilter {
  const { request_id: requestId, device, code, boundary, allowed, from, to } = input
  return {
    requestId,
    device,
    code,
    boundary,
    allowed: allowed === undefined ? undefined : allowed === 'true',
    fromMs: from === undefined ? undefined : Date.parse(from),
    toMs: to === undefined ? undefined : Date.parse(to),
  }
}

/** The cursor is a question, so the one that a page ends in is told to its end. */
function wholeQuestions(found: readonly DecisionRecord[], limit: number): readonly DecisionRecord[] {
  const last = found[limit - 1]?.requestId
  const end = found.findIndex(({ requestId }, index) => index >= limit && requestId !== last)
  return end === -1 ? found : found.slice(0, end)
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
