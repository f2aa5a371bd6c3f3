import { Router } from 'express'
import { z } from 'zod'

import type { GuardedToolCore, RefusalBody, ToolAnswer } from '../agents/tool-answer.ts'
import type { RefusalWord } from '../guard/refusal.ts'
import { readJson, sendJson } from '../http.ts'
import { callerOf, requireScope } from './auth.ts'
import { refuseDeep } from './bad-request.ts'
import { disconnected } from './disconnected.ts'
import { refuse } from './refuse.ts'

/** The largest request that is read, in bytes. */
export const MAX_REQUEST_BYTES = 1024 * 1024

/** A call or run id: 1 to 256 printable characters, as the caller chose it. */
export const CallerChosenId = z
  .string()
  .max(256)
  .regex(/^\P{C}+$/u, 'must be 1 to 256 printable characters')

const CallRequest = z.strictObject({
  call_id: CallerChosenId.optional(),
  run_id: CallerChosenId.optional(),
  arguments: z.unknown(),
})

/**
 * `GET /tools` lists function tools as the Responses API wants them. `POST /tools/:name` calls one with
 * `{call_id?, run_id?, arguments}` and answers with an `output` in every case.
 */
export function toolRoutes(tools: ReadonlyMap<string, GuardedToolCore>): Router {
  const router = Router({ caseSensitive: true, strict: true })

  router.get('/tools', requireScope('tools:call'), (_request, response) => {
    sendJson(response, 200, [...tools.values()].map(definitionOf))
  })

  router.post('/tools/:name', requireScope('tools:call'), async (request, response) => {
    const signal = disconnected(response)
    const tool = tools.get(String(request.params['name']))
    if (tool === undefined) {
      return refuse(response, {
        statusCode: 404,
        code: 'TOOL_NOT_FOUND',
        message: 'There is no tool of that name here. GET /tools lists those that are.',
      })
    }
    const sent = await readJson(request, MAX_REQUEST_BYTES)
    refuseDeep(sent)
    const parsed = CallRequest.safeParse(sent)
    if (!parsed.success) {
      return refuse(response, {
        statusCode: 400,
        code: 'BAD_REQUEST',
        message: 'Send {"call_id": "…", "run_id": "…", "arguments": {…}}; only arguments must be there.',
        issues: issuesOf(parsed.error),
      })
    }
    const { call_id: callId, run_id: runId, arguments: args } = parsed.data
    const caller = callerOf(request).id
    const answer = await tool.call({ arguments: args, callId, runId, caller, signal })
    const { statusCode, body } = httpAnswer(answer)
    sendJson(response, statusCode, { ...body, call_id: callId ?? null })
  })

  return router
}

/** One line for each issue: where, and what was expected. */
export function issuesOf(error: z.ZodError): string[] {
  return error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`)
}

function definitionOf({ name, description, parameters, strict }: GuardedToolCore) {
  return { type: 'function', name, description, parameters, strict }
}

function httpAnswer(answer: ToolAnswer): { statusCode: number; body: object } {
  const { output } = answer
  switch (answer.kind) {
    case 'output': {
      const { replayed, requestId } = answer
      return { statusCode: 200, body: { output, ...(replayed ? { replayed } : {}), request_id: requestId } }
    }
    case 'refused':
      return { statusCode: refusalStatus(answer.body), body: { ...answer.body, output } }
    case 'bad_arguments': {
      const message = 'The arguments do not fit the tool. GET /tools shows its parameters.'
      const body = { error: 'bad_arguments', code: 'BAD_ARGUMENTS', message, issues: answer.issues, output }
      return { statusCode: 400, body }
    }
  }
}

const REFUSAL_STATUS: Record<RefusalWord, number> = {
  permission_denied: 403,
  approval_required: 403,
  permission_check_unavailable: 503,
  in_progress: 409,
  effect_key_conflict: 409,
  outcome_unknown: 409,
  tool_failed: 500,
}

function refusalStatus({ error, code }: RefusalBody): number {
  return code === 'EFFECT_NOT_PERFORMED' ? 422 : REFUSAL_STATUS[error]
}
