import { HoldpointError } from '../errors.ts'
import type { RefusalBody } from './tool-answer.ts'

/**
 * A denial that ends a run: what `onDenied: 'abort'` rejects with. A plain `run()` wraps what a tool throws in the
 * SDK's `ToolCallError`, whose `error` is this one; `runAgent` rejects with this one itself.
 */
export class GuardDeniedError extends HoldpointError {
  override readonly name = 'GuardDeniedError'
  /** The denial, as a model would have been told. */
  readonly body: RefusalBody

  constructor(body: RefusalBody) {
    super(
      body.code,
      `Denied at the ${body.boundary} boundary: ${body.code} for ${body.device_id} (request ${body.request_id}). ` +
        `See why: holdpoint explain ${body.request_id}`,
    )
    this.body = body
  }
}
