import { setTimeout as sleep } from 'node:timers/promises'

import { mayPass } from '../../passing.ts'

/** In which Postgres comes back from a restart, or a standby takes over. */
const PATIENCE_MS = 10_000
const WAIT_MS = 500

/** Tries a write that may be done twice again and again. Throws what the last try threw. */
export type Patiently = (write: () => Promise<void>) => Promise<void>

/**
 * For evidence (G8) that is written to a store that nodes share, and that comes back without them. Its patience is that
 * of all writes of one outage: after that each is tried once, so that whoever closes does not wait for each of them anew.
 */
export function createPatience({
  patienceMs = PATIENCE_MS,
  waitMs = WAIT_MS,
  nowMs = () => performance.now(),
}: {
  readonly patienceMs?: number
  readonly waitMs?: number
  /** Monotonic milliseconds. */
  readonly nowMs?: () => number
} = {}): Patiently {
  let awaySinceMs: number | undefined
  return async (write) => {
    for (;;) {
      try {
        await write()
        awaySinceMs = undefined
        return
      } catch (thrown) {
        awaySinceMs ??= nowMs()
        const isOver = nowMs() - awaySinceMs >= patienceMs
        if (isOver || !mayPass(thrown)) throw thrown
        await sleep(waitMs)
      }
    }
  }
}
