import { RunRefused, type RunRefusalCode } from '../agents/hosted/run-types.ts'
import { HoldpointError, messageOf } from '../errors.ts'
import { isUnavailable, localRequestId } from '../guard/decision.ts'
import { errorBody } from '../http.ts'
import type { Logger } from '../log.ts'

export interface ErrorAnswer {
  readonly statusCode: number
  readonly body: object
}

const STATUS: Record<RunRefusalCode, number> = {
  RUN_NOT_FOUND: 404,
  AGENT_NOT_FOUND: 404,
  EFFECT_NOT_FOUND: 404,
  APPROVAL_UNKNOWN: 404,
  RUN_ID_TAKEN: 409,
  RUN_BUSY: 409,
  RUN_NOT_RESUMABLE: 409,
  RUN_ENDED: 409,
  RUN_STATE_REFUSED: 409,
  RUN_STATE_VERSION: 409,
  APPROVAL_MISMATCH: 409,
  APPROVAL_EXPIRED: 409,
  APPROVAL_DECIDED: 409,
  EFFECT_NOT_UNKNOWN: 409,
  RECONCILE_IMPOSSIBLE: 409,
  BAD_INPUT: 400,
  CONTEXT_NOT_KEPT: 400,
  CONTEXT_CHANGED: 409,
  CONTEXT_FAILED: 500,
  RESUME_DENIED: 403,
  APPROVER_REQUIRED: 403,
  RUNS_OVERLOADED: 503,
  RUNS_CLOSING: 503,
}

/** The answer to what `Runs` or its store has thrown; undefined for an error that nobody expected. */
export function runErrorAnswer(error: unknown, log: Logger): ErrorAnswer | undefined {
  if (error instanceof RunRefused) return refusalAnswer(error)
  if (!isStoreError(error)) return undefined
  const requestId = localRequestId()
  log.error({ request_id: requestId, err: messageOf(error) }, 'the store of runs failed')
  const message =
    'The store of runs cannot be used now, so this cannot be answered for. Ask GET /runs/:id before you try again; the ' +
    'error was logged with this request_id.'
  return { statusCode: 503, body: errorBody({ code: 'STORE_UNAVAILABLE', message, requestId }) }
}

/** A denial is told whole, as everywhere: it is the authority's answer, not ours. */
function refusalAnswer({ code, message, denial }: RunRefused): ErrorAnswer {
  if (denial !== undefined) return { statusCode: isUnavailable(denial.code) ? 503 : 403, body: denial }
  return { statusCode: STATUS[code], body: errorBody({ code, message, requestId: localRequestId() }) }
}

/** Of ours, or as `node:sqlite` throws it. */
function isStoreError(error: unknown): boolean {
  if (error instanceof HoldpointError) return error.code.startsWith('STORE_')
  return error instanceof Error && ('errcode' in error || (error as NodeJS.ErrnoException).code === CLOSED)
}

/** The database has been closed. */
const CLOSED = 'ERR_INVALID_STATE'
