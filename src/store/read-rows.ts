import type { LastSeen } from '../control-plane/records.ts'
import type { OverdueStop } from '../control-plane/store.ts'
import { devices, locks, type Row } from './control-plane-rows.ts'

/** From the columns of a device and its org. */
export function overdueDevice(row: Row): OverdueStop {
  const { deviceId, reason, epoch, remindAtMs } = devices.of(row)
  return {
    orgId: row['org_id'] as string,
    deviceId,
    lock: undefined,
    reason,
    epoch,
    remindAtMs: Number(remindAtMs),
  }
}

/** From the columns of a lock and its org. */
export function overdueLock(row: Row): OverdueStop {
  const lock = locks.of(row)
  const { reason, epoch, remindAtMs } = lock
  return {
    orgId: row['org_id'] as string,
    deviceId: undefined,
    lock,
    reason,
    epoch,
    remindAtMs: Number(remindAtMs),
  }
}

/** From the columns `seen_at_ms`, `seen_code` and `seen_key_id` of an outer join. */
export function lastSeenOf(row: Row): LastSeen | undefined {
  const { seen_at_ms: atMs, seen_code: code, seen_key_id: keyId } = row
  return atMs === null ? undefined : ({ atMs, code, keyId } as LastSeen)
}
