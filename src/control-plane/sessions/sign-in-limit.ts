import type { LimitStore } from '../nodes/node-store.ts'
import { createRateLimit } from '../rate-limit.ts'
import { Refusal } from '../refusal.ts'
import { networkOf } from '../remote-address.ts'

/** From one network: that many at once, then one a minute. */
const FAILURES = { burst: 10, perSecond: 1 / 60 }

/**
 * Told of each sign-in that failed; rejects with `RATE_LIMITED` when there were too many, on all nodes together. Asked
 * about failures only, so that nobody can keep whoever has a genuine key away from the stop button.
 */
export function createSignInLimit(
  limited: boolean,
  shared: () => LimitStore | undefined,
): (origin: string | null) => Promise<void> {
  if (!limited) return async () => {}
  const networks = createRateLimit(FAILURES)
  return async (origin) => {
    const id = networkOf(origin ?? 'unknown')
    // What this node knows goes first: no flood reaches the store.
    const waitMs = networks.take(id) || (await shared()?.takeToken({ name: 'sign_in', id, ...FAILURES })) || 0
    if (waitMs === 0) return
    const retryAfterSeconds = Math.ceil(waitMs / 1000)
    throw new Refusal(
      'RATE_LIMITED',
      `Signing in failed too often from here. Compare the key, and try again after ${retryAfterSeconds} s.`,
      { retryAfterSeconds },
    )
  }
}
