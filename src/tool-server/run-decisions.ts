import { Router } from 'express'

import { LIST_DEFAULT, type Runs } from '../agents/hosted/run-types.ts'
import { sendJson } from '../http.ts'
import { requireScope } from './auth.ts'
import { DecisionsBody, LimitQuery, NoBody, SettleBody } from './run-bodies.ts'
import { bodyOf, idOf, queryOf, runCallerOf } from './run-request.ts'

/** What people decide: about calls that wait, and about effects of which nobody knows whether they happened. */
export function runDecisionRoutes(runs: Runs): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.get('/approvals', requireScope('runs:approve'), async (request, response) => {
    const { limit = LIST_DEFAULT } = queryOf(request, LimitQuery)
    sendJson(response, 200, { approvals: await runs.waiting(runCallerOf(request), limit) })
  })

  router.post('/runs/:id/decisions', requireScope('runs:approve'), async (request, response) => {
    const { decisions } = await bodyOf(request, DecisionsBody)
    sendJson(response, 200, await runs.decide(runCallerOf(request), idOf(request), decisions))
  })

  router.post('/effects/:id/settle', requireScope('runs:approve'), async (request, response) => {
    const word = await bodyOf(request, SettleBody)
    sendJson(response, 200, await runs.settleEffect(runCallerOf(request), idOf(request), word))
  })

  router.post('/effects/:id/reconcile', requireScope('runs:approve'), async (request, response) => {
    await bodyOf(request, NoBody)
    sendJson(response, 200, await runs.reconcileEffect(runCallerOf(request), idOf(request)))
  })

  return router
}
