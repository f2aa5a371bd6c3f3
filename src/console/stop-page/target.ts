import { lockOfSurface } from '../../device-patterns.ts'
import { PATHS } from '../../machineid/paths.ts'
import type { PreviewAnswer } from '../api/call.ts'
import type { Output } from '../api/routes.ts'
import { count } from '../ui/count.ts'
import { plain } from '../ui/plain.ts'
import { get, post } from './session.ts'

/** What one button stops. */
export interface Target {
  readonly title: string
  readonly about: string
  readonly path: string
  readonly body: (reason: string) => object
}

const NO_REASON = 'stopped from the stop page'

export const EVERYTHING: Target = {
  title: 'Stop everything',
  about: 'Disables the whole org: nothing is allowed, on any device, until an admin enables it again.',
  path: PATHS.orgDisable,
  body: (reason) => ({ reason: reason === '' ? NO_REASON : reason }),
}

export function surfaceTarget(surface: string): Target {
  return {
    title: `Stop ${plain(surface)}`,
    about: `Locks every ${plain(surface)} device of every service and environment, present and to come.`,
    path: PATHS.locks,
    body: (reason) => ({ pattern: lockOfSurface(surface), reason: reason === '' ? NO_REASON : reason }),
  }
}

export interface Stopped {
  /** Of the stop. */
  readonly epoch: number
  readonly orgEpoch: number
}

/** Throws `ApiError`. */
export async function stop(target: Target, reason: string): Promise<Stopped> {
  return (await post(target.path, target.body(reason))) as Stopped
}

/** What it would hit, in words, and the org's epoch then. Throws `ApiError`. */
export async function blastRadius(
  target: Target,
): Promise<{ readonly words: string; readonly orgEpoch: number }> {
  const [preview, told] = await Promise.all([
    post(`${target.path}?preview=true`, target.body('')),
    get(PATHS.replicas),
  ])
  const { hits, devices, truncated, orgEpoch } = preview as PreviewAnswer
  const hit = new Set(devices.filter(({ now }) => now === 'ALLOW').map(({ deviceId }) => deviceId))
  const inFlight = (told as Output<'replicas'>).replicas
    .flatMap((replica) => replica.devices)
    .filter(({ deviceId }) => hit.has(deviceId))
    .reduce((sum, device) => sum + device.inFlight, 0)
  const orMore = truncated ? ' or more' : ''
  const words = `${count(hits, 'device')}${orMore} allowed now will be denied; ${count(inFlight, 'call')}${orMore} in flight there.`
  return { words, orgEpoch }
}
