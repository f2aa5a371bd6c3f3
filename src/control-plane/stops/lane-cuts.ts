import type { CanaryCut } from '../control-plane.ts'

/** Canaries whose questions get no answer for a while, so that a drill can see what their tool server makes of it. */
export interface LaneCuts {
  readonly cut: (cut: CanaryCut) => void
  /** True when one of these devices is cut. Costs nothing while none is. */
  readonly isCut: (orgId: string, deviceIds: readonly string[]) => boolean
}

/** Those that have ended are cleared away when there are as many again. */
const CLEARED_FROM = 1000

export function createLaneCuts(nowMs: () => number): LaneCuts {
  const untilMs = new Map<string, number>()
  let lastUntilMs = 0
  let clearedFrom = CLEARED_FROM
  const keyOf = (orgId: string, deviceId: string) => `${orgId} ${deviceId}`
  const clear = () => {
    const now = nowMs()
    for (const [key, endsAtMs] of untilMs) if (endsAtMs <= now) untilMs.delete(key)
    clearedFrom = Math.max(CLEARED_FROM, 2 * untilMs.size)
  }
  return {
    cut: (cut) => {
      untilMs.set(keyOf(cut.orgId, cut.deviceId), cut.untilMs)
      lastUntilMs = Math.max(lastUntilMs, cut.untilMs)
      if (untilMs.size > clearedFrom) clear()
    },
    isCut: (orgId, deviceIds) => {
      if (untilMs.size === 0) return false
      const now = nowMs()
      if (now >= lastUntilMs) {
        untilMs.clear()
        return false
      }
      // Every question of every org comes by here: however many are cut, each device is one look.
      return deviceIds.some((deviceId) => (untilMs.get(keyOf(orgId, deviceId)) ?? 0) > now)
    },
  }
}
