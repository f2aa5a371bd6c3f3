import type { ServerResponse } from 'node:http'

import { HoldpointError, messageOf } from '../errors.ts'
import { BadBodyError, errorBody, sendJson, type WireError } from '../http.ts'
import type { Logger } from '../log.ts'
import { Refusal } from './refusal.ts'

export type ErrorAnswerer = (response: ServerResponse, error: unknown, handler?: string) => void

/** Turns whatever was thrown into one JSON error: what was refused as it is, what went wrong without its inside. */
export function errorAnswerer(options: {
  readonly log: Logger
  readonly newId: () => string
  /** Called before anything that may be the store's fault is answered. */
  readonly tellFatal: () => void
}): ErrorAnswerer {
  const { log, newId, tellFatal } = options
  return (response, error, handler) => {
    const requestId = newId()
    const send = (statusCode: number, answer: Omit<WireError, 'requestId'>) => {
      const named = handler === undefined ? answer : { ...answer, handler }
      sendJson(response, statusCode, errorBody({ ...named, requestId } as WireError))
    }
    if (error instanceof Refusal) {
      const { retryAfterSeconds } = error.fields
      if (typeof retryAfterSeconds === 'number') response.setHeader('retry-after', retryAfterSeconds)
      return send(error.statusCode, { code: error.code, message: error.message, ...error.fields })
    }
    if (error instanceof BadBodyError) {
      return send(error.statusCode, { code: error.code, message: error.message })
    }
    tellFatal()
    // Whoever hung up while sending is not there to be told.
    if (response.destroyed || response.socket?.destroyed !== false) return
    log.error({ request_id: requestId, reason: messageOf(error) }, 'a request failed')
    if (error instanceof HoldpointError)
      send(503, error.code === OUTCOME_UNKNOWN.code ? OUTCOME_UNKNOWN : STORE_UNAVAILABLE)
    else send(500, INTERNAL)
  }
}

const STORE_UNAVAILABLE = {
  code: 'STORE_UNAVAILABLE',
  message:
    'The store could not confirm this: take it as not done, and ask again. The log has more under this request_id.',
}
const OUTCOME_UNKNOWN = {
  code: 'STORE_OUTCOME_UNKNOWN',
  message:
    'The store did not confirm this: it may be done or not. Look, and ask again: a stop that is made twice is made. The log has more under this request_id.',
}
const INTERNAL = {
  code: 'INTERNAL',
  message: 'Something went wrong here, and nothing was confirmed. The log has more under this request_id.',
}
