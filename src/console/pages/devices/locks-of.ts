import { matchesDevicePattern } from '../../../device-patterns.ts'
import { denialsOf, type Device, type Lock, type OrgStanding } from './device-state.ts'

/** The locks that deny it now. */
export function locksOf(deviceId: string, locks: readonly Lock[]): readonly Lock[] {
  return locks.filter(({ active, pattern }) => active && matchesDevicePattern(pattern, deviceId))
}

/** The devices that a lock holds now. */
export function heldDevices(
  { pattern }: Pick<Lock, 'pattern'>,
  devices: readonly Device[],
): readonly Device[] {
  return devices.filter(({ deviceId }) => matchesDevicePattern(pattern, deviceId))
}

/** What a lock holds now, and what of that nothing else would deny once it is released. */
export function heldBy(
  lock: Pick<Lock, 'lockId' | 'pattern'>,
  {
    devices,
    locks,
    org,
  }: { readonly devices: readonly Device[]; readonly locks: readonly Lock[]; readonly org: OrgStanding },
): { readonly held: readonly Device[]; readonly freed: readonly Device[] } {
  const held = heldDevices(lock, devices)
  const others = locks.filter(({ lockId }) => lockId !== lock.lockId)
  const freed = held.filter(
    (device) =>
      denialsOf(device, org).every((denial) => denial === 'locked') &&
      locksOf(device.deviceId, others).length === 0,
  )
  return { held, freed }
}

/** Why it is stopped, as whoever stopped it said. */
export function reasonOf(device: Device, locks: readonly Lock[], orgReason: string | null): string {
  const [lock] = device.locked && !device.revoked ? locksOf(device.deviceId, locks) : []
  return (device.revoked ? device.reason : (lock?.reason ?? orgReason)) ?? ''
}
