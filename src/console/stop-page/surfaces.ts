import { isSegmentName } from '../../device-patterns.ts'
import type { Output } from '../api/routes.ts'
import { count } from '../ui/count.ts'

type Device = Pick<Output<'devices'>['devices'][number], 'deviceId' | 'revoked' | 'locked' | 'overLimit'>

export interface Surface {
  readonly name: string
  readonly devices: number
  readonly denied: number
}

/** The surfaces that can be stopped here, by their names: the third segments of device IDs that have four or more. */
export function surfacesOf(devices: readonly Device[]): Surface[] {
  const found = new Map<string, { devices: number; denied: number }>()
  for (const { deviceId, revoked, locked, overLimit } of devices) {
    const name = surfaceOf(deviceId)
    if (name === undefined) continue
    const surface = found.get(name) ?? { devices: 0, denied: 0 }
    found.set(name, surface)
    surface.devices += 1
    if (revoked || locked || overLimit) surface.denied += 1
  }
  return [...found]
    .map(([name, counts]) => ({ name, ...counts }))
    .sort((one, other) => (one.name < other.name ? -1 : 1))
}

/** What holds for a surface, in words. `because`: what denies every device; '' when nothing does. */
export function surfaceWords({ devices, denied }: Surface, because: string): string {
  if (because !== '') return `${count(devices, 'device')}, none allowed: ${because}`
  if (denied === 0) return `${count(devices, 'device')}, not stopped`
  return denied === devices
    ? `${count(devices, 'device')}, all stopped`
    : `${denied} of ${count(devices, 'device')} stopped`
}

/** What does not fit is stopped with everything, or in the console. */
function surfaceOf(deviceId: string): string | undefined {
  const [, , surface, instance] = deviceId.split(':')
  return surface !== undefined && instance !== undefined && isSegmentName(surface) ? surface : undefined
}
