import { PATHS } from '../machineid/paths.ts'
import { byStatus, type ErrorCode } from './openapi-codes.ts'
import { json } from './openapi-operations.ts'
import type { Refusals } from './openapi-refusals.ts'
import type { Json } from './openapi-schemas.ts'

/** What is served beside the API: to machines that watch, read the contract, or show a page. */
export function plainPaths({ responses }: Refusals): Record<string, Record<string, Json>> {
  const refusals = (...codes: ErrorCode[]) => responses(byStatus(codes))
  const always = refusals('HOST_NOT_ALLOWED', 'STORE_UNAVAILABLE')
  const get = (operationId: string, summary: string, responses: Json, more: Json = {}) => ({
    get: { operationId, summary, tags: ['service'], security: [], parameters: [], responses, ...more },
  })
  const ok = json({ type: 'object', required: ['status'], properties: { status: { const: 'ok' } } })
  return {
    [PATHS.healthz]: get('getHealthz', 'The process answers', {
      200: { description: 'It does.', content: ok },
    }),
    [PATHS.readyz]: get('getReadyz', 'The store can be trusted', {
      200: { description: 'It can.', content: ok },
      503: {
        description:
          'It can no longer be: nothing is acknowledged from then on. Start the control plane anew.',
        content: json({
          type: 'object',
          required: ['status', 'code'],
          properties: { status: { const: 'error' }, code: { type: 'string', pattern: '^STORE_' } },
        }),
      },
    }),
    [PATHS.metrics]: get(
      'getMetrics',
      'Figures for Prometheus',
      {
        200: { description: 'Figures.', content: { 'text/plain': { schema: { type: 'string' } } } },
        ...refusals('INSUFFICIENT_SCOPE', 'HOST_NOT_ALLOWED', 'STORE_UNAVAILABLE'),
      },
      {
        description: 'For this machine, and for METRICS_TOKEN.',
        security: [{ metricsToken: [] }, {}],
      },
    ),
    [PATHS.openapi]: get('getOpenapi', 'This document', {
      200: { description: 'OpenAPI 3.1.', content: json({ type: 'object' }) },
      ...always,
    }),
    [RECOVER_PAGE]: get(
      'getRecover',
      'The page that turns a recovery link into a key, when its button is pressed',
      {
        200: { description: 'A page.', content: { 'text/html': { schema: { type: 'string' } } } },
        ...always,
      },
    ),
  }
}

const RECOVER_PAGE = '/recover'
