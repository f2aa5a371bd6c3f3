import { Router, type RequestHandler } from 'express'

import { comesFromHere } from '../loopback.ts'
import { requireScope } from './auth.ts'
import type { ToolServerMetrics } from './metrics.ts'

export interface MetricsRouteOptions {
  readonly metrics: ToolServerMetrics
  readonly identify: RequestHandler
  /** Something relays requests to here, which need not say so: then none counts as one of this machine. */
  readonly relayed: boolean
}

/** `GET /metrics`, for this machine unless it is `relayed` to, and for callers with `runs:approve` from anywhere. */
export function metricsRoute({ metrics, identify, relayed }: MetricsRouteOptions): Router {
  const router = Router({ caseSensitive: true, strict: true })
  const answer: RequestHandler = async (_request, response) => {
    response.setHeader('cache-control', 'no-store')
    response.setHeader('content-type', metrics.contentType)
    response.end(await metrics.text())
  }
  const ofHere: RequestHandler = (request, response, next) =>
    !relayed && comesFromHere(request) ? answer(request, response, next) : next()
  router.get('/metrics', ofHere, identify, requireScope('runs:approve'), answer)
  return router
}
