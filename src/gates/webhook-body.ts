import type { IncomingMessage } from 'node:http'
import { GuardMisconfiguredError } from '../errors.ts'
import { BadBodyError, bodyTooLarge, onBody } from '../http.ts'

/** A delivery with its body as it was sent: what senders sign. An Express request, where the gate stands in Express. */
export type WebhookRequest = IncomingMessage & { readonly body: Buffer }

/** What stands before the gate may have read the body. */
export type IncomingDelivery = IncomingMessage & { readonly body?: unknown }

/**
 * The raw body: what `express.raw` left, else it is read here. Rejects with `BadBodyError` when it is too large or the
 * sender has gone, with `GuardMisconfiguredError` when only something parsed is left of it.
 */
export async function readDelivery(request: IncomingDelivery, maxBodyBytes: number): Promise<WebhookRequest> {
  if (Buffer.isBuffer(request.body)) {
    if (request.body.length > maxBodyBytes) throw bodyTooLarge(maxBodyBytes)
    return request as WebhookRequest
  }
  if (request.body !== undefined || request.readableDidRead) throw new GuardMisconfiguredError(PARSED)
  const body = await new Promise<Buffer | undefined>((resolve, reject) =>
    onBody(request, maxBodyBytes, resolve, (error) => reject(bodyError(error))),
  )
  return Object.assign(request, { body: body ?? Buffer.alloc(0) })
}

/** Whoever can reach the port can hang up: no mistake of this program. */
function bodyError(cause: unknown): BadBodyError {
  if (cause instanceof BadBodyError) return cause
  const message = 'The sender was gone before the whole body had come. Deliver it again.'
  return new BadBodyError(400, 'BODY_INCOMPLETE', message, { cause })
}

const PARSED =
  'The body was parsed before the gate, so its signature cannot be checked any more. Mount the gate before ' +
  "express.json(), or give its path express.raw({ type: '*/*' }) first."
