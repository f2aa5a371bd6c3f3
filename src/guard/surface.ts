import { GuardMisconfiguredError } from '../errors.ts'
import { assertDeviceId, surfaceDeviceId } from './device.ts'
import type { LocalDenialCode } from './decision.ts'
import type { Guard, HoldPoint } from './guard.ts'

/** The name of the surface that is the server device alone. Always declared, and costs no slot. */
export const SERVER_SURFACE = 'tool-server'

/** Something an operator can stop on its own. Made by `guard.surface(name)`. */
export interface Surface {
  readonly name: string
  /** What a hold point on it asks about, server device first. */
  readonly deviceIds: readonly string[]
  readonly guard: Guard
}

/**
 * Surfaces by name (the device is the server device with its third segment replaced), or a map from name to
 * device ID. A surface mapped to `tool-server` is gated by the server device alone.
 */
export type SurfaceOptions = readonly string[] | Readonly<Record<string, string>>

const SURFACE_NAME = /^[A-Za-z0-9._-]{1,64}$/

/** The surfaces of the tools that ship: with the server device three, which is what a free plan has. */
export function shippedSurfaces(serverDeviceId: string): SurfaceOptions {
  return {
    payments: surfaceDeviceId(serverDeviceId, 'payments'),
    email: surfaceDeviceId(serverDeviceId, 'email'),
    records: SERVER_SURFACE,
  }
}

/** Surface name → device IDs to ask about. Throws `GUARD_MISCONFIGURED` on names or IDs that cannot be. */
export function resolveSurfaces(
  serverDeviceId: string,
  surfaces: SurfaceOptions,
): Map<string, readonly string[]> {
  const resolved = new Map<string, readonly string[]>([[SERVER_SURFACE, [serverDeviceId]]])
  for (const [name, target] of surfaceEntries(serverDeviceId, surfaces)) {
    if (!SURFACE_NAME.test(name)) {
      throw new GuardMisconfiguredError(
        `"${name}" is not a surface name: use 1 to 64 characters of A-Z a-z 0-9 . _ -`,
      )
    }
    const isServer = target === SERVER_SURFACE || target === serverDeviceId
    if (name === SERVER_SURFACE && !isServer) {
      throw new GuardMisconfiguredError(
        `Surface "${SERVER_SURFACE}" is the server device; it cannot have another.`,
      )
    }
    if (!isServer) assertDeviceId(target, `surface ${name}`)
    resolved.set(name, isServer ? [serverDeviceId] : [serverDeviceId, target])
  }
  return resolved
}

function surfaceEntries(serverDeviceId: string, surfaces: SurfaceOptions): [string, string][] {
  if (!Array.isArray(surfaces)) return Object.entries(surfaces)
  return surfaces.map((name) => [
    name,
    name === SERVER_SURFACE ? SERVER_SURFACE : surfaceDeviceId(serverDeviceId, name),
  ])
}

/** The same surface with one more device to ask about, last. Throws `GUARD_MISCONFIGURED` for what is no device ID. */
export function surfaceWith(surface: Surface, deviceId: string): Surface {
  assertDeviceId(deviceId, 'deviceId')
  const { deviceIds } = surface
  if (deviceIds.includes(deviceId)) return surface
  return Object.freeze({ ...surface, deviceIds: [...deviceIds, deviceId] })
}

/** The surface of another guard: its question would leave out the device of this process. */
export function foreignSurface(guard: Guard, { surface, tool }: HoldPoint): LocalDenialCode | undefined {
  if (surface.guard === guard) return undefined
  guard.log.error(
    { surface: surface.name, tool },
    'the surface is of another guard: take guard.surface(…) of this one',
  )
  return 'GUARD_MISCONFIGURED'
}
