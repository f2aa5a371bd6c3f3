import { Router } from 'express'

import { mayReadMetrics, METRICS_REFUSED, type MetricsAccess } from '../metrics-access.ts'
import type { ToolServerMetrics } from './metrics.ts'
import { refuse } from './refuse.ts'

/** `GET /metrics`, for this machine or with the token for it. No caller's token reads it: who looks need not act. */
export function metricsRoute(metrics: ToolServerMetrics, access: MetricsAccess): Router {
  const router = Router({ caseSensitive: true, strict: true })
  router.get('/metrics', async (request, response) => {
    if (!mayReadMetrics(access, request))
      return refuse(response, { statusCode: 403, code: 'INSUFFICIENT_SCOPE', message: METRICS_REFUSED })
    response.setHeader('cache-control', 'no-store')
    response.setHeader('content-type', metrics.contentType)
    response.end(await metrics.text())
  })
  return router
}
