import type { DatabaseSync } from 'node:sqlite'

import type { StopDevice, StopReader, StopStore } from '../../control-plane/stops/stop-store.ts'
import { audit, type Row } from '../control-plane-rows.ts'
import { stopsOf } from '../stop-rows.ts'
import { AUDIT_EPOCH, IS_STOP } from './control-plane-schema-4.ts'
import { storeError } from './open.ts'
import type { Writer } from './transaction.ts'

// The index by name: SQLite would rather read the whole chain of an org.
const FROM = `FROM audit INDEXED BY audit_stops WHERE org_id = ? AND ${IS_STOP} AND ${AUDIT_EPOCH}`
const STOPS = `SELECT ${audit.list} ${FROM}`
const EPOCHS = `SELECT DISTINCT ${AUDIT_EPOCH} AS epoch ${FROM}`

/** Up to and including the epoch of the `?`th row, whole. */
export const STOPS_BETWEEN = `${STOPS} > ? AND ${AUDIT_EPOCH} <= ? ORDER BY ${AUDIT_EPOCH}, seq`
export const LAST_EPOCH_OF_PAGE = `
  SELECT ${AUDIT_EPOCH} AS epoch ${FROM} > ?
  ORDER BY ${AUDIT_EPOCH}, seq LIMIT 1 OFFSET ?`
export const STOPS_OF_EPOCH = `${STOPS} = ? ORDER BY seq`
export const NEWEST_EPOCHS = `${EPOCHS} < ? ORDER BY ${AUDIT_EPOCH} DESC LIMIT ?`
export const KNOWN_EPOCHS = `
  SELECT DISTINCT wanted.value AS epoch FROM json_each(?) wanted
  WHERE EXISTS (SELECT 1 ${FROM} = wanted.value)`

/** What was there before is read as it lies there: a row that somebody tampered with is judged where the chain is. */
export const DEVICES_OF_EPOCH = `
  SELECT stop.seq, stop.device_id,
    iif(json_valid(stop.before), stop.before ->> '$.revoked', 0) AS was_revoked,
    now.epoch, now.revoked, now.removed
  FROM (
    SELECT org_id, seq, device_id, before ${FROM} = ? AND device_id IS NOT NULL AND seq > ? ORDER BY seq LIMIT ?
  ) stop LEFT JOIN devices now USING (org_id, device_id)
  ORDER BY stop.seq`

export function createStopReader(db: DatabaseSync, file: string): StopReader {
  const between = db.prepare(STOPS_BETWEEN)
  const lastOfPage = db.prepare(LAST_EPOCH_OF_PAGE)
  return {
    since: (orgId, afterEpoch, limit) => {
      try {
        // A stop that is committed between the two is either below the first's bound, or whole in the second.
        const last = lastOfPage.get(orgId, afterEpoch, Math.max(1, limit) - 1)
        return stopsOf(between.all(orgId, afterEpoch, Number(last?.['epoch'] ?? Number.MAX_SAFE_INTEGER)))
      } catch (thrown) {
        throw storeError(thrown, file)
      }
    },
  }
}

export function createStopReads(
  db: DatabaseSync,
  { read }: Writer,
): Pick<StopStore, 'listStops' | 'listStopDevices' | 'knownStops'> {
  const between = db.prepare(STOPS_BETWEEN)
  const one = db.prepare(STOPS_OF_EPOCH)
  const newest = db.prepare(NEWEST_EPOCHS)
  const known = db.prepare(KNOWN_EPOCHS)
  const devices = db.prepare(DEVICES_OF_EPOCH)
  return {
    listStops: async (orgId, { epoch, beforeEpoch = Number.MAX_SAFE_INTEGER, limit }) =>
      read(() => {
        if (epoch !== undefined) return stopsOf(one.all(orgId, epoch))
        const epochs = newest.all(orgId, beforeEpoch, limit).map((row) => Number(row['epoch']))
        const [last] = epochs
        const first = epochs.at(-1)
        if (first === undefined || last === undefined) return []
        return stopsOf(between.all(orgId, first - 1, last)).sort((a, b) => b.epoch - a.epoch)
      }),
    listStopDevices: async (orgId, epoch, { after, limit }) =>
      read(() => devices.all(orgId, epoch, after, limit).map(stopDeviceOf)),
    knownStops: async (orgId, epochs) =>
      read(() => new Set(known.all(JSON.stringify(epochs), orgId).map((row) => Number(row['epoch'])))),
  }
}

function stopDeviceOf({
  seq,
  device_id: deviceId,
  was_revoked: was,
  epoch,
  revoked,
  removed,
}: Row): StopDevice {
  const now = epoch === null ? undefined : { epoch, revoked: revoked === 1, removed: removed === 1 }
  return { seq, deviceId, wasRevoked: was === 1, now } as StopDevice
}
