import type { ServerResponse } from 'node:http'

import { localRequestId } from '../guard/decision.ts'
import { errorBody, sendJson } from '../http.ts'

export interface HttpRefusal {
  readonly statusCode: number
  readonly code: string
  /** Ends with the next step. Shown to callers and models. */
  readonly message: string
  /** Default: a new local one. */
  readonly requestId?: string
  /** What was wrong, one line each. */
  readonly issues?: readonly string[]
}

/** An error before any tool was reached. Its `output`, like that of every answer, can be given to a model as it is. */
export function refuse(response: ServerResponse, refusal: HttpRefusal): void {
  const { statusCode, code, message, requestId = localRequestId(), issues } = refusal
  const body = errorBody({ code, message, requestId, ...(issues === undefined ? {} : { issues }) })
  sendJson(response, statusCode, { ...body, output: refusalText(refusal) })
}

/** The same as text for a model. */
export function refusalText({ code, message, issues }: Omit<HttpRefusal, 'statusCode'>): string {
  return JSON.stringify({
    error: code.toLowerCase(),
    code,
    issues,
    executed: false,
    retryable: false,
    message,
  })
}
