import { setTimeout as sleep } from 'node:timers/promises'

import { jittered } from '../../jitter.ts'
import { mayTryAgain } from './errors.ts'

/** So often at most. */
const ATTEMPTS = 4
const WAIT_MS = 10

/**
 * A transaction that gave way to another one begins anew: nothing of it is left. So what it does besides asking the
 * database must be fine to be done again.
 */
export async function untilItGoesThrough<T>(attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (thrown) {
      if (attempts === ATTEMPTS || !mayTryAgain(thrown)) throw thrown
      // The other one takes what it waits for first.
      await sleep(jittered(WAIT_MS * attempts))
    }
  }
}
