import type { StopEvidence } from '../control-plane/stops/stop-store.ts'
import type { Superseded } from '../control-plane/stops/stop-streams.ts'
import { nameOf } from '../control-plane/stops/lane-listeners.ts'

/** In which lane each replica has its stream of stops: it may come back on another than it was on. */
export interface LaneReplicas<Lane> {
  /**
   * What of a lane's evidence holds, and whose streams have been superseded: an older stream that ends late says
   * nothing about the newer one.
   */
  readonly take: (
    lane: Lane,
    evidence: StopEvidence,
  ) => {
    readonly evidence: StopEvidence
    readonly superseded: readonly { readonly lane: Lane; readonly by: Superseded }[]
  }
}

export function createLaneReplicas<Lane>(): LaneReplicas<Lane> {
  const owners = new Map<string, { readonly lane: Lane; readonly atMs: number }>()
  return {
    take: (lane, evidence) => {
      const superseded: { readonly lane: Lane; readonly by: Superseded }[] = []
      const seen = evidence.seen.filter((one) => {
        const name = nameOf(one)
        const owner = owners.get(name)
        const isOther = owner !== undefined && owner.lane !== lane
        if (one.streamUp === false) return !isOther && (owners.delete(name), true)
        if (one.streamUp !== true) return true
        const { orgId, keyId, replica, atMs } = one
        if (isOther && owner.atMs > atMs) {
          superseded.push({ lane, by: { orgId, keyId, replica, atMs: owner.atMs } })
          return false
        }
        if (isOther) superseded.push({ lane: owner.lane, by: { orgId, keyId, replica, atMs } })
        owners.set(name, { lane, atMs })
        return true
      })
      return { evidence: { ...evidence, seen }, superseded }
    },
  }
}
