import { matchesDevicePattern } from '../../device-patterns.ts'
import type { StopRecord } from './stop-store.ts'

/** What one stop is about. */
export interface StopHits {
  /** Keys that it burned. */
  readonly keyIds: ReadonlySet<string>
  readonly deviceIds: ReadonlySet<string>
  /** Of locks. */
  readonly patterns: readonly string[]
  /** It stops the whole org. */
  readonly all: boolean
  readonly device: (deviceId: string) => boolean
}

/** Whom it is told to, and whose word it waits for, is decided by the same rule. The records are those of one epoch. */
export function stopHits(records: readonly StopRecord[]): StopHits {
  const keyIds = new Set(records.flatMap(({ keyId }) => keyId ?? []))
  const deviceIds = new Set(records.flatMap(({ deviceId }) => deviceId ?? []))
  const patterns = records.flatMap(({ pattern }) => pattern ?? [])
  const all = keyIds.size + deviceIds.size + patterns.length === 0
  const matches = remembered((deviceId) =>
    patterns.some((pattern) => matchesDevicePattern(pattern, deviceId)),
  )
  const device = (deviceId: string) =>
    all || deviceIds.has(deviceId) || (patterns.length > 0 && matches(deviceId))
  return { keyIds, deviceIds, patterns, all, device }
}

function remembered(look: (deviceId: string) => boolean): (deviceId: string) => boolean {
  const known = new Map<string, boolean>()
  return (deviceId) => {
    const found = known.get(deviceId) ?? look(deviceId)
    known.set(deviceId, found)
    return found
  }
}
