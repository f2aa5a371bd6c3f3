import { Router } from 'express'

import type { Guard } from '../guard/guard.ts'
import { sendJson } from '../http.ts'

/**
 * `/healthz`: the process answers. `/readyz`: the same with what an operator wants to know; it answers 200 also when
 * everything is denied, since a denial is an answer. With `?strict` an authority that gave no usable answer to the
 * last question, or a guard that has not started, makes it 503.
 */
export function healthRoutes(guard: Guard): Router {
  const router = Router({ caseSensitive: true, strict: true })
  router.get('/healthz', (_request, response) => sendJson(response, 200, { status: 'ok' }))
  router.get('/readyz', async (request, response) => {
    const { started, lastAnswer } = guard
    const ready = started && lastAnswer?.answered === true
    const strict = 'strict' in request.query
    sendJson(response, strict && !ready ? 503 : 200, {
      status: ready ? 'ok' : 'degraded',
      started,
      authority: lastAnswer ?? null,
      in_flight: guard.inFlight,
      unknown_outcomes: await unknownOutcomes(guard),
    })
  })
  return router
}

/** Null when the journal cannot tell. */
async function unknownOutcomes(guard: Guard): Promise<number | null> {
  try {
    return (await guard.journal.listUnknown()).length
  } catch {
    return null
  }
}
