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
  /** The store's clock. */
  readonly nowMs: () => number
  /** Somebody wants the run to end. */
  readonly onCancel: () => void
  /** The claim is no longer ours: nothing may be saved. */
  readonly onLost: () => void
}

/** A claim that is kept alive. */
export interface Lease {
  /** A sign of life now. False when the run must end; `onCancel` or `onLost` was told then. Rejects as the store does. */
  readonly renew: () => Promise<boolean>
  /** The same, if the last one is some time ago: before anybody looks for runs that are lost. Never rejects. */
  readonly renewIfOld: () => Promise<void>
  readonly end: () => void
}

export function keepLease({ store, token, every, log, nowMs, onCancel, onLost }: LeaseOptions): Lease {
  let aliveUntilMs = performance.now() + RUN_LEASE_MS
  let renewedAtMs = nowMs()
  const renew = async () => {
    const asked = { at: performance.now(), storeMs: nowMs() }
    const answer = await store.renew(token, RUN_LEASE_MS)
    if (answer === 'lost') onLost()
    else {
      aliveUntilMs = asked.at + RUN_LEASE_MS
      renewedAtMs = asked.storeMs
    }
    if (answer === 'cancel') onCancel()
    return answer === 'ours'
  }
  const tryRenew = async () => {
    try {
      await renew()
    } catch (cause) {
      log.error({ err: messageOf(cause) }, 'a run could not renew its claim')
    }
  }
  const end = every(RENEW_EVERY_MS, () => {
    // A store that does not answer for so long has given the run to somebody else.
    if (performance.now() >= aliveUntilMs) onLost()
    else void tryRenew()
  })
  return {
    renew,
    renewIfOld: async () => {
      // A wall clock can be set, in either direction.
      if (Math.abs(nowMs() - renewedAtMs) >= RENEW_EVERY_MS) await tryRenew()
    },
    end,
  }
}
