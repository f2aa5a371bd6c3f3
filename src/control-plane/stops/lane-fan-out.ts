import { stopsOf, type LaneStop } from './lane-hits.ts'
import type { StopListener, StopListeners } from './lane-listeners.ts'
import { createSlice } from './lane-slice.ts'
import type { StopRecord } from './stop-store.ts'

/** More of one org that are not told yet, and its streams end: they come back for what they missed. */
const MAX_WAITING = 1000

/** Tells stops to whom they concern: those of one org in their order, the orgs in turns. */
export interface FanOut {
  readonly put: (records: readonly StopRecord[]) => void
}

export function createFanOut(options: {
  readonly listeners: Pick<StopListeners, 'ofOrg'>
  readonly tell: (listener: StopListener, stop: LaneStop) => void
  /** Nothing more waits. */
  readonly onDone: () => void
  readonly onOverflow: (orgId: string) => void
}): FanOut {
  const { listeners, tell, onDone, onOverflow } = options
  const waiting = new Map<string, LaneStop[]>()
  let telling = false

  const takeFirst = (orgId: string, stops: LaneStop[]): LaneStop | undefined => {
    const first = stops.shift()
    if (stops.length === 0) waiting.delete(orgId)
    return first
  }
  const hear = (listener: StopListener, stop: LaneStop) => {
    if (listener.live) tell(listener, stop)
    else listener.heardEpoch = Math.max(listener.heardEpoch, stop.epoch)
  }
  const tellAll = async () => {
    telling = true
    const slice = createSlice()
    while (waiting.size > 0) {
      for (const [orgId, stops] of waiting) {
        const stop = takeFirst(orgId, stops)
        const org = listeners.ofOrg(orgId)
        for (const listener of org === undefined ? [] : (stop?.concerned(org) ?? [])) {
          if (stop !== undefined && listener !== undefined) hear(listener, stop)
          if (slice.isOver()) await slice.next()
        }
      }
    }
    telling = false
    onDone()
  }
  const wait = (stop: LaneStop) => {
    const stops = waiting.get(stop.orgId)
    if (stops === undefined) waiting.set(stop.orgId, [stop])
    else if (stops.push(stop) > MAX_WAITING) {
      waiting.delete(stop.orgId)
      onOverflow(stop.orgId)
    }
  }
  return {
    put: (records) => {
      for (const stop of stopsOf(records)) if (listeners.ofOrg(stop.orgId) !== undefined) wait(stop)
      // The first slice at once: in a thread that is never done with answering, the next turn takes a while to come.
      if (!telling && waiting.size > 0) void tellAll()
    },
  }
}
