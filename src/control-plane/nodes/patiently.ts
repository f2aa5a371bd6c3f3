import { setTimeout as sleep } from 'node:timers/promises'

import { HoldpointError } from '../../errors.ts'

/** About ten seconds, in which Postgres comes back from a restart, or a standby takes over. */
const TRIES = 20
const WAIT_MS = 500

/** What passes by itself: the store is away for a while, is busy, or nobody knows whether it was done. */
const PASSES = new Set([
  'STORE_UNREACHABLE',
  'STORE_IN_RECOVERY',
  'STORE_RESTORED',
  'STORE_TIMEOUT',
  'STORE_BUSY',
  'STORE_OUTCOME_UNKNOWN',
])

/**
 * Writes evidence (G8) to a store that nodes share, and that comes back without them: tries again for about ten seconds.
 * `write` must be one that may be done twice. Throws what the last try threw.
 */
export async function patiently(
  write: () => Promise<void>,
  { tries = TRIES, waitMs = WAIT_MS }: { readonly tries?: number; readonly waitMs?: number } = {},
): Promise<void> {
  for (let left = tries - 1; ; left--) {
    try {
      return await write()
    } catch (thrown) {
      if (left <= 0 || !(thrown instanceof HoldpointError) || !PASSES.has(thrown.code)) throw thrown
      await sleep(waitMs)
    }
  }
}
