import { matchesDevicePattern } from '../device-patterns.ts'
import { decide, standingOf, type DecisionCode } from './rules.ts'
import type { Change, OrgSnapshot } from './store.ts'

/** How many devices a preview names. */
export const PREVIEW_DEVICES = 1000

/** What a stop would hit. */
export interface Preview {
  readonly orgId: string
  readonly orgEpoch: number
  readonly deviceCount: number
  readonly truncated: boolean
  /** Of the named devices, those that are allowed now and would be denied. */
  readonly hits: number
  readonly devices: readonly {
    readonly deviceId: string
    readonly now: Told
    readonly then: Told
  }[]
}

/** What a device is told: a decision, or what the key that asks for it is refused with. */
type Told = DecisionCode | 'KEY_BURNED' | 'KEY_EXPIRED'

/** Judges each device as it is and as `change` would leave it. */
export function hitsOf(snapshot: OrgSnapshot, change: Change<unknown>): Preview {
  const { org, deviceCount, lockedDevices } = snapshot
  const changed = new Map(change.devices?.map((device) => [device.deviceId, device]))
  const orgThen = change.org ?? org
  const patterns = (change.locks ?? []).filter(({ active }) => active).map(({ pattern }) => pattern)

  const devices = snapshot.devices.map((device) => {
    const { deviceId } = device
    const locked = lockedDevices.has(deviceId)
    const lockedThen = locked || patterns.some((pattern) => matchesDevicePattern(pattern, deviceId))
    return {
      deviceId,
      now: decide(standingOf(org, device, locked)),
      then: decide(standingOf(orgThen, changed.get(deviceId) ?? device, lockedThen)),
    }
  })
  return {
    orgId: org.orgId,
    orgEpoch: org.epoch,
    deviceCount,
    truncated: deviceCount > devices.length,
    hits: devices.filter(({ now, then }) => now === 'ALLOW' && then !== 'ALLOW').length,
    devices,
  }
}
