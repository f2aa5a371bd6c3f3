import { MessageChannel } from 'node:worker_threads'

const TICK_MS = 50
/** A probe is sent no more often than that. */
const PROBE_EVERY_MS = 10

/** How long what is handled now has been waiting for the event loop of this thread. */
export interface LagMeter {
  readonly start: () => void
  readonly stop: () => void
  /** In milliseconds; about 0 while all is well, and before the start. Cheap enough to ask for each request. */
  readonly lagMs: () => number
  /** The most since this was last asked. */
  readonly takeMaxMs: () => number
}

/**
 * Timers cannot tell: while requests keep coming, one turn of the loop handles ten thousands of them before it looks
 * at a timer, however short each of them has waited. So a message to ourselves queues up with the requests, and takes
 * as long as they do. And when nothing at all was handled for longer than the ticks are apart, the loop was blocked, and
 * what is handled next has waited for that time. `nowMs` is monotonic.
 */
export function createLagMeter(nowMs: () => number = () => performance.now()): LagMeter {
  let timer: NodeJS.Timeout | undefined
  let channel: MessageChannel | undefined
  let sentMs: number | undefined
  let lastSentMs = 0
  let lastHandledMs = 0
  let blockedMs = 0
  let waitedMs = 0
  let maxMs = 0

  const lagMs = () => {
    if (channel === undefined) return 0
    const atMs = nowMs()
    const idleMs = atMs - lastHandledMs - TICK_MS
    if (idleMs > blockedMs) blockedMs = idleMs
    lastHandledMs = atMs
    if (sentMs === undefined && atMs - lastSentMs >= PROBE_EVERY_MS) {
      sentMs = lastSentMs = atMs
      channel.port1.postMessage(null)
    }
    const lag = Math.max(blockedMs, waitedMs, sentMs === undefined ? 0 : atMs - sentMs)
    if (lag > maxMs) maxMs = lag
    return lag
  }
  const heard = () => {
    waitedMs = nowMs() - (sentMs ?? nowMs())
    sentMs = undefined
    blockedMs = 0
  }
  return {
    start: () => {
      if (timer !== undefined) return
      lastHandledMs = nowMs()
      channel = new MessageChannel()
      channel.port2.on('message', heard).unref()
      timer = setInterval(lagMs, TICK_MS).unref()
    },
    stop: () => {
      clearInterval(timer)
      channel?.port1.close()
      timer = channel = sentMs = undefined
      blockedMs = waitedMs = 0
    },
    lagMs,
    takeMaxMs: () => {
      const most = Math.max(maxMs, lagMs())
      maxMs = 0
      return most
    },
  }
}
