import type { Clock } from '../../clock.ts'

/**
 * What is added to the monotonic clock of this machine to get the store's time, in microseconds. In shared memory, so that
 * every thread of a process knows at once.
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
export const machineMonotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6

/**
 * A clock of the store's time, measured now and every two seconds, and carried on by the monotonic clock of this machine:
 * its wall clock is never asked. Rejects as the first measurement does; later ones may fail.
 */
export async function createStoreClock(options: {
  /** What time the store has now: wall-clock milliseconds. */
  readonly measure: () => Promise<number>
  readonly monotonicMs?: (() => number) | undefined
  readonly everyMs?: number | undefined
}): Promise<StoreClock> {
  const { measure, monotonicMs = machineMonotonicMs, everyMs = EVERY_MS } = options
  const clockOffset: ClockOffset = new BigInt64Array(new SharedArrayBuffer(8))

  /** Within these the offset was, whenever on its way the question was answered. */
  const bounds = async () => {
    const sentMs = monotonicMs()
    const wallMs = await measure()
    const low = wallMs - monotonicMs()
    return { low, high: wallMs - sentMs }
  }
  const first = [await bounds()]
  while (first.length < FIRST_MEASURES) first.push(await bounds())
  const [best = { low: 0, high: 0 }] = first.toSorted((a, b) => a.high - a.low - (b.high - b.low))
  put(clockOffset, (best.low + best.high) / 2)

  const refresh = async () => {
    try {
      const { low, high } = await bounds()
      // What fits the answer stays: a slow one says little.
      put(clockOffset, Math.min(Math.max(offsetMs(clockOffset), low), high))
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
    clock: createThreadClock(clockOffset, monotonicMs),
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
): Clock {
  let heldMs = offsetMs(clockOffset)
  let beforeMs = monotonicMs()
  return {
    now: () => {
      const atMs = monotonicMs()
      heldMs = Math.max(offsetMs(clockOffset), heldMs - Math.max(0, atMs - beforeMs) / 2)
      beforeMs = atMs
      return { monotonicMs: atMs, wallMs: atMs + heldMs }
    },
  }
}

function offsetMs(offset: ClockOffset): number {
  return Number(Atomics.load(offset, 0)) / 1000
}

function put(offset: ClockOffset, ms: number): void {
  Atomics.store(offset, 0, BigInt(Math.round(ms * 1000)))
}
