import { setTimeout as sleep } from 'node:timers/promises'

import { jittered } from '../../jitter.ts'
import { mayPass } from '../../passing.ts'

/** What nobody waits for any more, and must be stored all the same once the database is back. */
export interface Mending {
  /** Tries `work` until it succeeds, or fails for a reason that time does not mend. */
  readonly start: (work: () => Promise<unknown>) => void
  /** Gives up what is left. */
  readonly close: () => Promise<void>
}

const WAIT_MS = { min: 50, max: 5000 }
/** Longer than any lease and most outages; it is in memory, so it ends with the process in any case. */
const PATIENCE_MS = 15 * 60_000
export function createMending(): Mending {
  const closing = new AbortController()
  const all = new Set<Promise<void>>()

  const mend = async (work: () => Promise<unknown>): Promise<void> => {
    const until = performance.now() + PATIENCE_MS
    let delayMs = WAIT_MS.min
    while (!closing.signal.aborted && performance.now() < until) {
      await sleep(jittered(delayMs), undefined, { signal: closing.signal, ref: false })
      try {
        return void (await work())
      } catch (thrown) {
        if (!mayPass(thrown)) return
      }
      delayMs = Math.min(delayMs * 2, WAIT_MS.max)
    }
  }

  return {
    start: (work) => {
      const mended = mend(work)
        // Only closing ends a wait.
        .catch(() => undefined)
        .finally(() => all.delete(mended))
      all.add(mended)
    },
    close: async () => {
      closing.abort()
      await Promise.all(all)
    },
  }
}
