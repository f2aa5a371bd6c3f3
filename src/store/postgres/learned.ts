import type { Known } from './verdict.ts'

// One thread of a process has the store open, and learns what it is and where. Threads that answer validates have
// connections of their own, and must not believe a server that the first one would refuse.

/** What that thread has learned, in words that can be sent to another one. */
export interface Learned {
  /** Undefined before it has looked. */
  readonly known: Known | undefined
  /** Raised by whatever makes connections that are open unfit: the store moved, or was refused. */
  readonly revision: number
  /** The newest one, in shared memory: every thread knows at once, before anything is acked where the store is now. */
  readonly newest: Revision
}

export type Revision = Int32Array<SharedArrayBuffer>

/** Of the thread that learns. */
export interface Knowledge {
  readonly learned: () => Learned
  /** Told of each thing that is learned from now on. */
  readonly onLearned: (listener: (learned: Learned) => void) => void
  /** Another thread was led to what is not known yet: looks by a new connection, and settles what must be settled. */
  readonly lookAnew: () => void
}
