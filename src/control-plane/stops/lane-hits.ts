import { eventText } from './lane-events.ts'
import type { OrgListeners, StopListener } from './lane-listeners.ts'
import { stopHits } from './stop-hits.ts'
import type { StopRecord } from './stop-store.ts'

/** What one epoch of an org has stopped. */
export interface LaneStop {
  readonly orgId: string
  readonly epoch: number
  /** Those whose streams end with it. */
  readonly keyIds: ReadonlySet<string>
  readonly hits: (deviceId: string) => boolean
  /** The event for a stream of which it stops these devices. Made once for all of which it stops the same. */
  readonly textFor: (deviceIds: readonly string[], ackAfterMs?: number) => string
  /** Whoever may be concerned, some of them twice; undefined when a while was spent on looking. */
  readonly concerned: (org: OrgListeners) => Iterable<StopListener | undefined>
}

/** In the order of the records, which is that of the epochs of each org. */
export function stopsOf(records: readonly StopRecord[]): LaneStop[] {
  const byEpoch = Map.groupBy(records, ({ orgId, epoch }) => `${orgId} ${epoch}`)
  return [...byEpoch.values()].map(stopOf)
}

function stopOf(records: readonly StopRecord[]): LaneStop {
  const { orgId, epoch, action } = records[0] as StopRecord
  const { keyIds, deviceIds, patterns, all: hitsAll, device: hits } = stopHits(records)
  const texts = new Map<string, string>()
  return {
    orgId,
    epoch,
    keyIds,
    hits,
    textFor: (hit, ackAfterMs) => {
      const key = hit.join(',')
      const text =
        texts.get(key) ?? eventText({ type: 'stop', epoch, deviceIds: [...hit], action, ackAfterMs })
      texts.set(key, text)
      return text
    },
    *concerned({ all, byDevice, byKey }) {
      if (hitsAll) yield* all
      for (const keyId of keyIds) yield* byKey.get(keyId) ?? []
      for (const deviceId of deviceIds) yield* byDevice.get(deviceId) ?? []
      if (patterns.length === 0) return
      for (const [deviceId, listeners] of byDevice) {
        if (hits(deviceId)) yield* listeners
        else yield undefined
      }
    },
  }
}
