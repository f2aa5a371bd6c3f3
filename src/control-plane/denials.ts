import type { DenialRecord } from './store.ts'

const FLUSH_AFTER_MS = 100
const FLUSH_AT = 500

export type Denial = Omit<DenialRecord, 'atMs'>

export interface DenialLog {
  /** Takes note and returns at once: the answer does not wait for the disk. */
  readonly record: (denial: Denial) => void
  /** Writes what is waiting. Never rejects. */
  readonly flush: () => Promise<void>
}

/**
 * G8: every denial is stored, in batches, at most 250 ms after the answer. A crash may lose that much of the
 * record; never of a change.
 */
export function createDenialLog(options: {
  readonly write: (denials: readonly DenialRecord[]) => Promise<void>
  readonly nowMs: () => number
  readonly onLost: (error: unknown, denials: number) => void
}): DenialLog {
  const { write, nowMs, onLost } = options
  let waiting: DenialRecord[] = []
  let writing = Promise.resolve()
  let timer: NodeJS.Timeout | undefined

  const writeBatch = async (batch: readonly DenialRecord[]): Promise<void> => {
    try {
      await write(batch)
    } catch (error) {
      onLost(error, batch.length)
    }
  }
  const flush = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    const batch = waiting
    waiting = []
    // One batch after the other; whoever closes waits for those that are still being written too.
    if (batch.length > 0) writing = writing.then(() => writeBatch(batch))
    return writing
  }

  return {
    flush,
    record: (denial) => {
      waiting.push({ ...denial, atMs: nowMs() })
      if (waiting.length >= FLUSH_AT) void flush()
      else timer ??= setTimeout(() => void flush(), FLUSH_AFTER_MS)
    },
  }
}
