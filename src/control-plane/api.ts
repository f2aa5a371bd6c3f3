import express, { type Express, type NextFunction, type Request, type Response } from 'express'
import helmet from 'helmet'
import type { ServerResponse } from 'node:http'

import { sendJsonText } from '../http.ts'
import { PATHS } from '../machineid/paths.ts'
import { redact } from '../redact.ts'
import { approvalRoutes } from './approvals/api-approvals.ts'
import { auditRoutes } from './api-audit.ts'
import { batchRoutes } from './api-batches.ts'
import { decisionRoutes } from './api-decisions.ts'
import { deviceRoutes } from './api-devices.ts'
import { feedRoutes } from './api-feed.ts'
import { keyRoutes } from './api-keys.ts'
import { lockRoutes } from './api-locks.ts'
import { orgRoutes } from './api-orgs.ts'
import { ownerRoutes } from './api-owners.ts'
import { recoveryRoutes } from './api-recovery.ts'
import type { ApiContext, Route } from './api-route.ts'
import { drillRoutes } from './drills/api-drills.ts'
import { openapiText } from './openapi.ts'
import { mountRecoverPage } from './recover-page.ts'
import { Refusal } from './refusal.ts'
import { sessionRoutes } from './sessions/api-sessions.ts'
import { runRoutes } from './runs/api-runs.ts'
import { stopRoutes } from './stops/api-stops.ts'

/** Every call of the API but the validates, which are answered before Express sees them. */
export function apiRoutes(context: ApiContext): Route[] {
  return [
    ...deviceRoutes(context),
    ...batchRoutes(context),
    ...lockRoutes(context),
    ...keyRoutes(context),
    ...orgRoutes(context),
    ...ownerRoutes(context),
    ...recoveryRoutes(context),
    ...sessionRoutes(context),
    ...decisionRoutes(context),
    ...auditRoutes(context),
    ...feedRoutes(context),
    ...stopRoutes(context),
    ...drillRoutes(context),
    ...approvalRoutes(context),
    ...runRoutes(context),
  ]
}

export function createApi(context: ApiContext): Express {
  const app = express()
  app.disable('x-powered-by').disable('etag')
  // Exactly the paths of the contract: a stop that a proxy's rule missed by a letter's case would be no stop.
  app.enable('case sensitive routing').enable('strict routing')
  app.use(helmet())
  mountRecoverPage(app)
  const routes = apiRoutes(context)
  for (const { method, path, handle } of routes) app[method](path, handle)
  for (const path of new Set(routes.map((route) => route.path))) {
    const methods = routes.filter((route) => route.path === path).map(({ method }) => method)
    app.all(path, refuseMethod(context, methods))
  }
  const openapi = openapiText(routes)
  app.get(PATHS.openapi, (_request, response) => sendJsonText(response, 200, openapi()))
  app.all(PATHS.openapi, refuseMethod(context, ['get']))
  app.all(PATHS.validate, refuseMethod(context, ['post', 'get']))
  app.all(PATHS.validateBatch, refuseMethod(context, ['post']))
  app.all(PATHS.stops, refuseMethod(context, ['get']))
  app.use((request, response) => context.onError(response, noSuchCall(request)))
  // Four parameters are how Express tells an error handler: what it throws itself, such as for a malformed URL.
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const clients = typeof error === 'object' && error !== null && 'status' in error && error.status === 400
    context.onError(response, clients ? new Refusal('BAD_REQUEST', 'This URL is malformed.') : error)
  })
  return app
}

const API = '/api/v1/'
const SHOWN_CHARACTERS = 200

/** Without the query, which is where keys end up by mistake. */
function noSuchCall({ method, path }: Request): Refusal {
  const asked = `${method} ${redact(path).slice(0, SHOWN_CHARACTERS)}`
  const compare = path.startsWith(API)
    ? path.endsWith('/') && path !== API && 'Leave out the slash at its end.'
    : `Every call of this API begins with ${API}.`
  const sentences = [`There is no call ${asked}.`, compare, 'docs/http.md lists the calls.']
  return new Refusal('NOT_FOUND', sentences.filter(Boolean).join(' '))
}

function refuseMethod(context: ApiContext, methods: readonly string[]) {
  const allowed = methods.map((method) => method.toUpperCase()).join(', ')
  return (_request: unknown, response: ServerResponse) => {
    response.setHeader('allow', allowed)
    context.onError(response, new Refusal('METHOD_NOT_ALLOWED', `This call takes ${allowed}.`))
  }
}
