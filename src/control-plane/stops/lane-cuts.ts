import type { CanaryCut } from '../control-plane.ts'

/** Canaries whose questions get no answer for a while, so that a drill can see what their tool server makes of it. */
export interface LaneCuts {
  readonly cut: (cut: CanaryCut) => void
  /** True when one of these devices is cut. Costs nothing while none is. */
  readonly isCut: (orgId: string, deviceIds: readonly string[]) => boolean
}

export function createLaneCuts(nowMs: () => number): LaneCuts {
  const untilMs = new Map<string, number>()
  const keyOf = (orgId: string, deviceId: string) => `${orgId} ${deviceId}`
  const forgetPast = () => {
    for (const [key, endsAtMs] of untilMs) if (endsAtMs <= nowMs()) untilMs.delete(key)
  }
  return {
    cut: (cut) => {
      untilMs.set(keyOf(cut.orgId, cut.deviceId), cut.untilMs)
      forgetPast()
    },
    isCut: (orgId, deviceIds) => {
      if (untilMs.size === 0) return false
      forgetPast()
      return deviceIds.some((deviceId) => untilMs.has(keyOf(orgId, deviceId)))
    },
  }
}
