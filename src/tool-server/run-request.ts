import type { IncomingMessage } from 'node:http'
import type { Request } from 'express'
import type { z } from 'zod'

import type { RunCaller, RunView } from '../agents/hosted/run-types.ts'
import { readJson } from '../http.ts'
import { callerOf } from './auth.ts'
import { BadRequestError, refuseDeep } from './bad-request.ts'
import { issuesOf, MAX_REQUEST_BYTES } from './tool-routes.ts'

/** Rejects with `BadRequestError`, or as `readJson` does. No body counts as `{}`. */
export async function bodyOf<T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<T> {
  const body = await readJson(request, MAX_REQUEST_BYTES)
  refuseDeep(body)
  return parsed(schema, body, 'The body is not what is expected here.')
}

/** Throws `BadRequestError`. */
export function queryOf<T>(request: Request, schema: z.ZodType<T>): T {
  return parsed(schema, { ...request.query }, 'The query is not what is expected here.')
}

function parsed<T>(schema: z.ZodType<T>, value: unknown, message: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new BadRequestError(`${message} docs/http.md shows it.`, issuesOf(result.error))
}

export function idOf(request: Request): string {
  return String(request.params['id'])
}

export function runCallerOf(request: Request): RunCaller {
  const { id, scopes } = callerOf(request)
  return { id, mayApprove: scopes.includes('runs:approve') }
}

export function wantsEvents(request: Request): boolean {
  return request.accepts(['application/json', 'text/event-stream']) === 'text/event-stream'
}

export function isGoingOn({ status }: RunView): boolean {
  return status === 'queued' || status === 'running'
}

/** What to ask for as `before` to get the next page; null when there is none. */
export function nextOf(found: readonly RunView[], limit: number): string | null {
  return found.length < limit ? null : (found.at(-1)?.runId ?? null)
}
