import { Router, type RequestHandler } from 'express'

import { comesFromHere } from '../loopback.ts'
import { requireScope } from './auth.ts'
import type { ToolServerMetrics } from './metrics.ts'

/** `GET /metrics`, for this machine, and for callers with `runs:approve` from elsewhere. */
export function metricsRoute(metrics: ToolServerMetrics, identify: RequestHandler): Router {
  const router = Router({ caseSensitive: true, strict: true })
  const answer: RequestHandler = async (_request, response) => {
    response.setHeader('cache-control', 'no-store')
    response.setHeader('content-type', metrics.contentType)
    response.end(await metrics.text())
  }
  const ofHere: RequestHandler = (request, response, next) =>
    comesFromHere(request) ? answer(request, response, next) : next()
  router.get('/metrics', ofHere, identify, requireScope('runs:approve'), answer)
  return router
}
