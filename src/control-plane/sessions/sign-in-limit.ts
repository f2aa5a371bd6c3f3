import { createRateLimit } from '../rate-limit.ts'
import { Refusal } from '../refusal.ts'
import { networkOf } from '../remote-address.ts'

/** From one network: that many at once, then one a minute. */
const FAILURES = { burst: 10, perSecond: 1 / 60 }

/**
 * Told of each sign-in that failed; throws `RATE_LIMITED` when there were too many. Asked about failures only, so that
 * nobody can keep whoever has a genuine key away from the stop button.
 */
export function createSignInLimit(limited: boolean): (origin: string | null) => void {
  if (!limited) return () => {}
  const networks = createRateLimit(FAILURES)
  return (origin) => {
    const waitMs = networks.take(networkOf(origin ?? 'unknown'))
    if (waitMs === 0) return
    const retryAfterSeconds = Math.ceil(waitMs / 1000)
    throw new Refusal(
      'RATE_LIMITED',
      `Signing in failed too often from here. Compare the key, and try again after ${retryAfterSeconds} s.`,
      { retryAfterSeconds },
    )
  }
}
