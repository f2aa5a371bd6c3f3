import { setImmediate as nextTurn } from 'node:timers/promises'

const SLICE_MS = 5

/** Long work in pieces, so that validates go on in between. */
export interface Slice {
  readonly isOver: () => boolean
  /** Begins the next, after whatever else waits. */
  readonly next: () => Promise<void>
}

export function createSlice(): Slice {
  let untilMs = performance.now() + SLICE_MS
  return {
    isOver: () => performance.now() >= untilMs,
    next: async () => {
      await nextTurn()
      untilMs = performance.now() + SLICE_MS
    },
  }
}

/** For many long works at once: each resolves when its next piece is due, one after the other, all within one slice. */
export function createTurns(): () => Promise<void> {
  const slice = createSlice()
  let last = Promise.resolve()
  return () =>
    (last = last.then(async () => {
      if (slice.isOver()) await slice.next()
    }))
}
