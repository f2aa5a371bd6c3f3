import { Router } from 'express'

import type { Runs } from '../agents/hosted/run-types.ts'
import type { Guard } from '../guard/guard.ts'
import { sendJson } from '../http.ts'
import type { ToolServerAbout } from './about.ts'
import { stopStreamState } from './stop-stream-state.ts'

export interface HealthOptions {
  readonly guard: Guard
  readonly runs: Runs | undefined
  readonly about: ToolServerAbout
}

/**
 * `/healthz`: the process answers. `/readyz`: the same with what an operator wants to know; it answers 200 also when
 * everything is denied, since a denial is an answer. With `?strict` an authority that gave no usable answer to the
 * last question, a stream of stops that is down, or a guard that has not started, makes it 503.
 */
export function healthRoutes({ guard, runs, about }: HealthOptions): Router {
  const router = Router({ caseSensitive: true, strict: true })
  router.get('/healthz', (_request, response) => sendJson(response, 200, { status: 'ok' }))
  router.get('/readyz', async (request, response) => {
    const { started, lastAnswer } = guard
    const unknownOutcomes = await orNull(() => guard.journal.countUnknown())
    const { state, since, reason } = stopStreamState(guard, about)
    // Without its journal it carries nothing out.
    const ready = started && lastAnswer?.answered === true && unknownOutcomes !== null && state !== 'down'
    const strict = 'strict' in request.query
    sendJson(response, strict && !ready ? 503 : 200, {
      status: ready ? 'ok' : 'degraded',
      started,
      authority: lastAnswer ?? null,
      stop_stream: { state, since, reason },
      in_flight: guard.inFlight,
      unknown_outcomes: unknownOutcomes,
      ...(runs === undefined ? {} : { runs: await orNull(() => runCounts(runs)) }),
    })
  })
  return router
}

async function runCounts(runs: Runs) {
  const { queued, running, interrupted, waitingApprovals } = await runs.counts()
  return { queued, running, interrupted, waiting_approvals: waitingApprovals }
}

/** Null when the store cannot tell. */
async function orNull<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask()
  } catch {
    return null
  }
}
