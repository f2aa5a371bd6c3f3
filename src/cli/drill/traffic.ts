import type { CanaryCall, CanaryReply, Cell } from './canary-call.ts'

/** Sends one canary call. Rejects when no answer came that can be read. */
export type SendCanary = (cell: Cell, holdMs: number) => Promise<CanaryReply>

export interface TrafficOptions {
  readonly cells: readonly Cell[]
  readonly send: SendCanary
  readonly callsPerSecond: number
  /** How long the bodies wait: half of the calls the one, half the other. */
  readonly shortMs: number
  readonly longMs: number
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number
}

/** Canary calls at a steady rate, over all cells in turn. */
export interface Traffic {
  /** Those that have ended, in the order in which they did. */
  readonly ended: readonly CanaryCall[]
  readonly inFlight: number
  /** `short`: none of the long ones, so that it ends soon. */
  start(kind?: 'mixed' | 'short'): void
  /** Sends no more. What is in flight goes on. */
  pause(): void
  /** Resolves once nothing is in flight. */
  drained(): Promise<void>
}

export function createTraffic(options: TrafficOptions): Traffic {
  const { cells, send, callsPerSecond, shortMs, longMs, nowMs } = options
  const ended: CanaryCall[] = []
  const inFlight = new Set<Promise<void>>()
  let timer: NodeJS.Timeout | undefined
  let next = 0
  let isShort = false

  const call = async (cell: Cell, holdMs: number) => {
    const sentAtMs = nowMs()
    const end = (reply: CanaryReply | undefined, problem: string | undefined) =>
      void ended.push({ cell, holdMs, sentAtMs, receivedAtMs: nowMs(), reply, problem })
    try {
      end(await send(cell, holdMs), undefined)
    } catch (error) {
      end(undefined, error instanceof Error ? error.message : String(error))
    }
  }
  const sendNext = () => {
    const turn = next++
    const cell = cells[turn % cells.length]
    if (cell === undefined) return
    // Each cell gets a short one in one round and a long one in the next; neighbours differ.
    const isLong = !isShort && (turn + Math.floor(turn / cells.length)) % 2 === 1
    const one = call(cell, isLong ? longMs : shortMs).finally(() => inFlight.delete(one))
    inFlight.add(one)
  }
  const everyMs = 1000 / callsPerSecond
  const beat = (dueAtMs: number) => {
    sendNext()
    // What a busy process missed is not made up for in a burst.
    const nextAtMs = Math.max(dueAtMs + everyMs, nowMs())
    timer = setTimeout(() => beat(nextAtMs), Math.max(0, nextAtMs - nowMs()))
  }
  return {
    ended,
    get inFlight() {
      return inFlight.size
    },
    start: (kind = 'mixed') => {
      isShort = kind === 'short'
      if (timer === undefined) beat(nowMs())
    },
    pause: () => {
      clearTimeout(timer)
      timer = undefined
    },
    drained: async () => {
      while (inFlight.size > 0) await Promise.all(inFlight)
    },
  }
}

/** How long it takes until every cell has had a short and a long call, in milliseconds. */
export function roundMs(cells: number, callsPerSecond: number): number {
  return Math.ceil((2 * cells * 1000) / callsPerSecond)
}
