import type { Response } from 'express'

/** Aborted when the caller has gone before it was answered. */
export function disconnected(response: Response): AbortSignal {
  const controller = new AbortController()
  const leave = () => controller.abort(new Error('The caller has disconnected.'))
  if (response.destroyed) leave()
  else response.once('close', () => (response.writableFinished ? undefined : leave()))
  return controller.signal
}
