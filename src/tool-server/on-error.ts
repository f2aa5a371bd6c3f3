import type { ErrorRequestHandler } from 'express'

import { messageOf } from '../errors.ts'
import { localRequestId } from '../guard/decision.ts'
import { BadBodyError, sendJson } from '../http.ts'
import type { Logger } from '../log.ts'
import { BadRequestError } from './bad-request.ts'
import { refuse } from './refuse.ts'
import { runErrorAnswer } from './run-errors.ts'

/** Answers whatever a route has thrown. */
export function onError(log: Logger): ErrorRequestHandler {
  return (error: unknown, _request, response, _next) => {
    if (error instanceof BadBodyError) return refuse(response, error)
    if (error instanceof BadRequestError) {
      const { code, message, issues } = error
      return refuse(response, { statusCode: 400, code, message, issues })
    }
    if (error instanceof URIError) {
      return refuse(response, {
        statusCode: 400,
        code: 'BAD_REQUEST',
        message: 'The path cannot be decoded. GET /tools lists the tools by name.',
      })
    }
    const known = runErrorAnswer(error, log)
    if (known !== undefined) return sendJson(response, known.statusCode, known.body)
    if (response.destroyed) return
    const requestId = localRequestId()
    log.error({ request_id: requestId, err: messageOf(error) }, 'request failed')
    refuse(response, {
      statusCode: 500,
      code: 'INTERNAL_ERROR',
      message: 'The request failed inside the server. The error was logged with this request_id.',
      requestId,
    })
  }
}
