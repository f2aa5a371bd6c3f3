import type { Output } from '../../api/routes.ts'

type Replica = Pick<Output<'replicas'>['replicas'][number], 'devices'>

/** Stopped by every drill, or the server itself, which is no surface of its own. */
const NO_SURFACE = new Set(['canary', 'tool-server'])

function surfaceOf(deviceId: string): string | undefined {
  const surface = deviceId.split(':')[2]
  return surface === undefined || surface === '' || NO_SURFACE.has(surface) ? undefined : surface
}

/** The surfaces that processes say they have, as their devices name them. */
export function surfacesOf(replicas: readonly Replica[]): string[] {
  const names = replicas.flatMap(({ devices }) => devices.map(({ deviceId }) => surfaceOf(deviceId)))
  return [...new Set(names.filter((name) => name !== undefined))].toSorted()
}

/** Each device once, with what is in flight on it everywhere. */
export function devicesOfSurface(
  replicas: readonly Replica[],
  surface: string,
): { readonly deviceId: string; readonly inFlight: number }[] {
  const sums = new Map<string, number>()
  for (const { deviceId, inFlight } of replicas.flatMap(({ devices }) => devices))
    if (surfaceOf(deviceId) === surface) sums.set(deviceId, (sums.get(deviceId) ?? 0) + inFlight)
  return [...sums].map(([deviceId, inFlight]) => ({ deviceId, inFlight }))
}
