import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { RunStore } from './run-store.ts'

/** How long a claim counts after a sign of life. */
export const RUN_LEASE_MS = 60_000
const RENEW_EVERY_MS = 20_000

/** Calls `body` again and again until told to stop; keeps no process alive. */
export type Every = (ms: number, body: () => void) => () => void

export const everyUnref: Every = (ms, body) => {
  const timer = setInterval(body, ms).unref()
  return () => clearInterval(timer)
}

export interface LeaseOptions {
  readonly store: RunStore
  readonly token: string
  readonly every: Every
  readonly log: Logger
  /** Somebody wants the run to end. */
  readonly onCancel: () => void
  /** The claim is no longer ours: nothing may be saved. */
  readonly onLost: () => void
}

/** Signs of life for a claim. Gives what ends them. */
export function keepLease({ store, token, every, log, onCancel, onLost }: LeaseOptions): () => void {
  let aliveUntilMs = performance.now() + RUN_LEASE_MS
  return every(RENEW_EVERY_MS, () => {
    // A store that does not answer for so long has given the run to somebody else.
    if (performance.now() >= aliveUntilMs) return onLost()
    const askedAtMs = performance.now()
    store.renew(token, RUN_LEASE_MS).then(
      (answer) => {
        if (answer === 'lost') return onLost()
        aliveUntilMs = askedAtMs + RUN_LEASE_MS
        if (answer === 'cancel') onCancel()
      },
      (cause: unknown) => log.error({ err: messageOf(cause) }, 'a run could not renew its claim'),
    )
  })
}
