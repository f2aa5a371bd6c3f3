import type { StopListener } from './lane-listeners.ts'
import type { StopEvidence } from './stop-store.ts'

const FLUSH_AFTER_MS = 50
/** Of one batch: taking it must not keep the main thread for long. */
const MAX_ROWS = 5000

/** What a lane knows of its streams, on its way to be stored. */
export interface LaneEvidence {
  readonly opened: (listener: StopListener) => void
  readonly ended: (listener: StopListener) => void
  /** The stop was written to its stream. */
  readonly told: (listener: StopListener, epoch: number) => void
  /** Hands over what waits, now. */
  readonly flush: () => void
}

export function createLaneEvidence(options: {
  readonly observe: (evidence: StopEvidence) => void
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
}): LaneEvidence {
  const { observe, nowMs } = options
  let seen: StopEvidence['seen'][number][] = []
  let told: StopEvidence['told'][number][] = []
  let timer: NodeJS.Timeout | undefined

  const handOver = () => {
    timer = undefined
    if (seen.length + told.length === 0) return
    // A stream is known before what was told to it.
    const known = seen.slice(0, MAX_ROWS)
    const first = told.slice(0, MAX_ROWS - known.length)
    seen = seen.slice(known.length)
    told = told.slice(first.length)
    observe({ seen: known, told: first, acks: [] })
    if (seen.length + told.length > 0) soon()
  }
  const soon = () => {
    timer ??= setTimeout(handOver, FLUSH_AFTER_MS)
  }
  const note = (listener: StopListener) => {
    const { orgId, keyId, replica } = listener
    soon()
    return { orgId, keyId, replica, atMs: nowMs() }
  }
  return {
    opened: (listener) => {
      const devices = listener.deviceIds.map((deviceId) => ({ deviceId, inFlight: 0 }))
      seen.push({ ...note(listener), keyKind: listener.keyKind, streamUp: true, devices })
    },
    ended: (listener) => void seen.push({ ...note(listener), keyKind: listener.keyKind, streamUp: false }),
    told: (listener, epoch) => void told.push({ ...note(listener), epoch }),
    flush: () => {
      clearTimeout(timer)
      handOver()
    },
  }
}
