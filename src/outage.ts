import { messageOf } from './errors.ts'
import type { Logger } from './log.ts'

/** Of what is tried again and again: one line when it begins to fail, and one when it is over. */
export interface Outage {
  readonly failed: (error: unknown) => void
  readonly worked: () => void
}

/** `message` says what fails. Nothing is logged while it works, or goes on failing. */
export function createOutage(log: Pick<Logger, 'error' | 'info'>, message: string): Outage {
  let sinceMs: number | undefined
  return {
    failed: (error) => {
      if (sinceMs !== undefined) return
      sinceMs = performance.now()
      log.error({ reason: messageOf(error) }, `${message}; another line will say when that is over`)
    },
    worked: () => {
      if (sinceMs === undefined) return
      log.info({ after_ms: Math.round(performance.now() - sinceMs) }, `over: ${message}`)
      sinceMs = undefined
    },
  }
}
