import { matchesDevicePattern } from '../../../device-patterns.ts'
import type { Input, Output } from '../../api/routes.ts'

type SetDevice = Output<'stopSet'>['devices'][number]
export type RestoreItem = Input<'unrevokeBatch'>['items'][number]
export type RestoreRow = Output<'unrevokeBatch'>['results'][number]

const RESTORED_AT_ONCE = 1000

export interface RestorePlan {
  /** As they were before the stop: not revoked, and held by nothing newer. */
  readonly items: readonly RestoreItem[]
  readonly left: readonly { readonly deviceId: string; readonly why: string }[]
}

/** What a restore of one stop gives back, and what it leaves alone and why. */
export function restorePlan(devices: readonly SetDevice[]): RestorePlan {
  const items: RestoreItem[] = []
  const left: { deviceId: string; why: string }[] = []
  for (const { deviceId, wasRevoked, epochNow, stillHeld } of devices) {
    if (epochNow === null) left.push({ deviceId, why: 'was removed since' })
    else if (!stillHeld) left.push({ deviceId, why: 'was stopped or restored again since' })
    else if (wasRevoked) left.push({ deviceId, why: 'was revoked already before this stop' })
    else items.push({ deviceId, ifEpoch: epochNow })
  }
  return { items, left }
}

/** What would deny devices although they are no longer revoked, as far as it is known before. */
export function stillDenied(
  items: readonly RestoreItem[],
  now: { readonly orgDisabled: boolean; readonly lockPatterns: readonly string[] },
): { readonly by: string; readonly devices: number }[] {
  const locked = now.lockPatterns
    .map((pattern) => ({
      by: `the lock on ${pattern}`,
      devices: items.filter(({ deviceId }) => matchesDevicePattern(pattern, deviceId)).length,
    }))
    .filter(({ devices }) => devices > 0)
  if (!now.orgDisabled || items.length === 0) return locked
  return [{ by: 'the org, which is disabled', devices: items.length }, ...locked]
}

export function inChunks<T>(all: readonly T[], size = RESTORED_AT_ONCE): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, at) =>
    all.slice(at * size, (at + 1) * size),
  )
}
