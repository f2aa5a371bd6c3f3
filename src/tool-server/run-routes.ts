import { Router, type Request } from 'express'

import {
  RunRefused,
  type EffectView,
  type RunDetail,
  type Runs,
  type RunView,
  LIST_DEFAULT,
} from '../agents/hosted/run-types.ts'
import { sendJson } from '../http.ts'
import { requireScope } from './auth.ts'
import { CancelBody, ListQuery, ResumeBody, StartBody } from './run-bodies.ts'
import { bodyOf, idOf, isGoingOn, nextOf, queryOf, runCallerOf, wantsEvents } from './run-request.ts'
import type { RunStreams } from './run-stream.ts'

/** Every scope that is about runs: each may look at its own. */
const ANY_RUNS = ['runs:start', 'runs:resume', 'runs:approve'] as const

/** Start, look at, resume and cancel hosted runs. What people decide about them is in `run-decisions.ts`. */
export function runRoutes(runs: Runs, streams: RunStreams): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.post('/runs', requireScope('runs:start'), async (request, response) => {
    const { onDisconnect = 'cancel', ...asked } = await bodyOf(request, StartBody)
    const inBackground = asked.background === true || asked.delayMs !== undefined
    await streams.answer(request, response, {
      onDisconnect: inBackground ? 'continue' : onDisconnect,
      begin: (tell) => runs.start(runCallerOf(request), { ...asked, ...tell }),
    })
  })

  router.get('/runs', requireScope(...ANY_RUNS), async (request, response) => {
    const { outcome, limit = LIST_DEFAULT, before, ...filter } = queryOf(request, ListQuery)
    const who = runCallerOf(request)
    if (outcome === 'unknown') return sendJson(response, 200, await withUnknownOutcome(runs, request))
    const found = await runs.list(who, { ...filter, limit, beforeRunId: before })
    sendJson(response, 200, { runs: found, next: nextOf(found, limit) })
  })

  router.get('/runs/:id', requireScope(...ANY_RUNS), async (request, response) => {
    if (wantsEvents(request)) return streams.follow(request, response, idOf(request))
    sendJson(response, 200, await runs.show(runCallerOf(request), idOf(request)))
  })

  router.post('/runs/:id/resume', requireScope('runs:resume'), async (request, response) => {
    const { onDisconnect = 'cancel', context } = await bodyOf(request, ResumeBody)
    await streams.answer(request, response, {
      onDisconnect,
      begin: (tell) => runs.resume(runCallerOf(request), { runId: idOf(request), context, ...tell }),
    })
  })

  router.post('/runs/:id/cancel', requireScope(...ANY_RUNS), async (request, response) => {
    const { reason } = await bodyOf(request, CancelBody)
    const view = await runs.cancel(runCallerOf(request), idOf(request), reason)
    sendJson(response, isGoingOn(view) ? 202 : 200, view)
  })

  return router
}

type RunWithEffects = RunView & { readonly effects: readonly EffectView[] }

/** Runs of which nobody knows what became of an effect, and effects of single calls. */
async function withUnknownOutcome(
  runs: Runs,
  request: Request,
): Promise<{ readonly runs: readonly RunWithEffects[]; readonly effects: readonly EffectView[] }> {
  const who = runCallerOf(request)
  const unknown = await runs.unknownEffects(who)
  const found: RunWithEffects[] = []
  const told = new Set<string>()
  for (const runId of new Set(unknown.flatMap((effect) => effect.runId ?? []))) {
    const run = await foundOrNot(() => runs.show(who, runId))
    const effects = run?.effects.filter(({ state }) => state === 'unknown') ?? []
    if (run === undefined || effects.length === 0) continue
    for (const { id } of effects) told.add(id)
    found.push({ ...viewOf(run), effects })
  }
  return { runs: found, effects: unknown.filter(({ id }) => !told.has(id)) }
}

/** A single call may name a run that is none of ours. */
async function foundOrNot<T>(find: () => Promise<T>): Promise<T | undefined> {
  try {
    return await find()
  } catch (error) {
    if (error instanceof RunRefused && error.code === 'RUN_NOT_FOUND') return undefined
    throw error
  }
}

function viewOf({ effects: _1, allApprovals: _2, steps: _3, operatorLog: _4, ...view }: RunDetail): RunView {
  return view
}
