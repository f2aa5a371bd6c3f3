/** One reading of both clocks of this process, in milliseconds. */
export interface Instant {
  readonly monotonicMs: number
  readonly wallMs: number
}

/** Where time comes from; tests inject their own. Clocks of two machines are never compared. */
export interface Clock {
  now(): Instant
}

export const systemClock: Clock = {
  now: () => ({ monotonicMs: performance.now(), wallMs: Date.now() }),
}

/**
 * How old `since` is at `now`, in milliseconds: the larger of monotonic and wall time, because the monotonic
 * clock of Linux stands still while a machine is suspended. Infinite when the wall clock was set back.
 */
export function ageMs(since: Instant, now: Instant): number {
  const wallMs = now.wallMs - since.wallMs
  if (wallMs < 0) return Number.POSITIVE_INFINITY
  return Math.max(now.monotonicMs - since.monotonicMs, wallMs)
}
