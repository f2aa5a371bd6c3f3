const TICK_MS = 50

/** How late the event loop of this thread is. */
export interface LagMeter {
  readonly start: () => void
  readonly stop: () => void
  /** For how many milliseconds what is handled now may have been waiting: 0 while all is well, and before the start. */
  readonly lagMs: () => number
  /** The most since this was last asked. */
  readonly takeMaxMs: () => number
}

/** `nowMs` is monotonic. */
export function createLagMeter(nowMs: () => number = () => performance.now()): LagMeter {
  let timer: NodeJS.Timeout | undefined
  let dueMs = 0
  let lastMs = 0
  let maxMs = 0
  // Timers come before what has arrived meanwhile: that waited as long as the last tick was late.
  const lagMs = () => (timer === undefined ? 0 : Math.max(lastMs, nowMs() - dueMs))
  const tick = () => {
    lastMs = Math.max(0, nowMs() - dueMs)
    maxMs = Math.max(maxMs, lastMs)
    dueMs = nowMs() + TICK_MS
  }
  return {
    start: () => {
      if (timer !== undefined) return
      dueMs = nowMs() + TICK_MS
      lastMs = 0
      timer = setInterval(tick, TICK_MS).unref()
    },
    stop: () => {
      clearInterval(timer)
      timer = undefined
    },
    lagMs,
    takeMaxMs: () => {
      const most = Math.max(maxMs, lagMs())
      maxMs = 0
      return most
    },
  }
}
