import { PATHS } from '../../machineid/paths.ts'
import type { PreviewAnswer } from '../api/call.ts'
import type { Output } from '../api/routes.ts'
import { count } from '../ui/count.ts'
import { plain } from '../ui/plain.ts'
import { get, post } from './session.ts'
import { patternOf } from './surfaces.ts'

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
    body: (reason) => ({ pattern: patternOf(surface), reason: reason === '' ? NO_REASON : reason }),
  }
}

/** Answers the epoch of the stop. Throws `ApiError`. */
export async function stop(target: Target, reason: string): Promise<number> {
  return ((await post(target.path, target.body(reason))) as { readonly epoch: number }).epoch
}

/** What it would hit, in words. Throws `ApiError`. */
export async function blastRadius(target: Target): Promise<string> {
  const [preview, told] = await Promise.all([
    post(`${target.path}?preview=true`, target.body('')),
    get(PATHS.replicas),
  ])
  const { hits, devices, truncated } = preview as PreviewAnswer
  const hit = new Set(devices.filter(({ now }) => now === 'ALLOW').map(({ deviceId }) => deviceId))
  const inFlight = (told as Output<'replicas'>).replicas
    .flatMap((replica) => replica.devices)
    .filter(({ deviceId }) => hit.has(deviceId))
    .reduce((sum, device) => sum + device.inFlight, 0)
  return `${count(hits, 'device')}${truncated ? ' or more' : ''} allowed now will be denied; ${count(inFlight, 'call')} in flight there.`
}
