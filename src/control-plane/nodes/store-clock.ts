import { uptime } from 'node:os'

import type { Clock } from '../../clock.ts'

/**
 * What is added to the monotonic clock of this machine to get the store's time, in microseconds; and by how much the
 * machine's uptime was ahead of that clock then. In shared memory, so that every thread of a process knows at once.
 */
export type ClockOffset = BigInt64Array<SharedArrayBuffer>

/** The time of a store that several nodes share: what they date, let expire and decide, they do by it. */
export interface SharedClock {
  readonly clock: Clock
  /** For clocks of other threads: `createThreadClock`. */
  readonly clockOffset: ClockOffset
}

export interface StoreClock extends SharedClock {
  /** Asks now. Never rejects: what was known stays. */
  readonly refresh: () => Promise<void>
  readonly close: () => void
}

const EVERY_MS = 2000
/** At the start; the quickest answer is the most exact. */
const FIRST_MEASURES = 3

/** The same for all threads of a machine, unlike `performance.now`. */
const machineMonotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6

/** It goes on while the machine is suspended, and the monotonic clock of Linux does not. By whole seconds on some. */
const machineUptimeMs = (): number => uptime() * 1000
/** The uptime was ahead by so much more than before: the machine was suspended meanwhile. */
const SUSPENDED_MS = 2000
/** The uptime is read from a file. */
const LOOK_EVERY_MS = 100

/**
 * A clock of the store's time, measured now and every two seconds, and carried on by the monotonic clock of this machine,
 * also while that is suspended: its wall clock is never asked. Rejects as the first measurement does; later ones may fail.
 */
export async function createStoreClock(options: {
  /** What time the store has now: wall-clock milliseconds. */
  readonly measure: () => Promise<number>
  readonly monotonicMs?: (() => number) | undefined
  readonly uptimeMs?: (() => number) | undefined
  readonly everyMs?: number | undefined
}): Promise<StoreClock> {
  const { measure, monotonicMs = machineMonotonicMs, everyMs = EVERY_MS } = options
  const { uptimeMs = options.monotonicMs ?? machineUptimeMs } = options
  const clockOffset: ClockOffset = new BigInt64Array(new SharedArrayBuffer(16))
  const ahead = () => uptimeMs() - monotonicMs()

  /** Within these the offset was, whenever on its way the question was answered. */
  const bounds = async () => {
    for (;;) {
      const aheadMs = ahead()
      const sentMs = monotonicMs()
      const wallMs = await measure()
      const low = wallMs - monotonicMs()
      // Suspended meanwhile: nobody knows when it was answered.
      if (ahead() - aheadMs < SUSPENDED_MS) return { low, high: wallMs - sentMs, aheadMs }
    }
  }
  const first = [await bounds()]
  while (first.length < FIRST_MEASURES) first.push(await bounds())
  const [best = { low: 0, high: 0, aheadMs: 0 }] = first.toSorted((a, b) => a.high - a.low - (b.high - b.low))
  put(clockOffset, (best.low + best.high) / 2, best.aheadMs)

  const refresh = async () => {
    try {
      const { low, high, aheadMs } = await bounds()
      // What fits the answer stays: a slow one says little.
      put(clockOffset, Math.min(Math.max(offsetMs(clockOffset), low), high), aheadMs)
    } catch {
      // Whoever needs the store finds out by itself.
    }
  }
  let closed = false
  let timer: NodeJS.Timeout | undefined
  const again = () => {
    if (!closed) timer = setTimeout(() => void refresh().then(again), everyMs).unref()
  }
  again()

  return {
    clock: createThreadClock(clockOffset, monotonicMs, uptimeMs),
    clockOffset,
    refresh,
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}

/**
 * Never goes back: while the store's time is behind what was told last, it goes on at half its pace. Where a new primary is
 * far behind, what has ended stays so because the store says so.
 */
export function createThreadClock(
  clockOffset: ClockOffset,
  monotonicMs: () => number = machineMonotonicMs,
  uptimeMs: () => number = monotonicMs === machineMonotonicMs ? machineUptimeMs : monotonicMs,
): Clock {
  let beforeMs = monotonicMs()
  let lookedMs = beforeMs
  let aheadMs = uptimeMs() - beforeMs
  const measuredMs = () => {
    // In this order: an offset that is new already comes with how far the uptime was ahead then.
    const offset = offsetMs(clockOffset)
    const suspendedMs = aheadMs - Number(Atomics.load(clockOffset, 1)) / 1000
    return suspendedMs < SUSPENDED_MS ? offset : offset + suspendedMs
  }
  let heldMs = measuredMs()
  return {
    now: () => {
      const atMs = monotonicMs()
      if (atMs - lookedMs >= LOOK_EVERY_MS) {
        lookedMs = atMs
        aheadMs = uptimeMs() - atMs
      }
      heldMs = Math.max(measuredMs(), heldMs - Math.max(0, atMs - beforeMs) / 2)
      beforeMs = atMs
      return { monotonicMs: atMs, wallMs: atMs + heldMs }
    },
  }
}

function offsetMs(offset: ClockOffset): number {
  return Number(Atomics.load(offset, 0)) / 1000
}

/** In the other order than they are read in. */
function put(offset: ClockOffset, ms: number, aheadMs: number): void {
  Atomics.store(offset, 1, BigInt(Math.round(aheadMs * 1000)))
  Atomics.store(offset, 0, BigInt(Math.round(ms * 1000)))
}
