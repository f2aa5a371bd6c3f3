import type { AuditRow } from '../../control-plane/records.ts'
import { stopOf } from '../../control-plane/stops/stop-record.ts'
import type { StopDevice, StopReader, StopStore } from '../../control-plane/stops/stop-store.ts'
import { audit, type Mapping, type Row } from '../control-plane-rows.ts'
import { stopsOf } from '../stop-rows.ts'
import type { Database } from './database.ts'

/** Rows of the audit, to be written: a stop with its epoch beside it, by which it is found. */
export const auditWithStops: Pick<Mapping<AuditRow>, 'columns' | 'values'> = {
  columns: [...audit.columns, 'stop_epoch'],
  values: (row) => [...audit.values(row), stopOf(row)?.epoch ?? null],
}

// What was there before a stop is no part of it, and not read: a row that somebody tampered with is judged where the
// chain is.
const COLUMNS = audit.columns.filter((column) => column !== 'before').join(', ')

/** Of the last epoch all. */
const SINCE = `
  SELECT ${COLUMNS} FROM (
    SELECT ${COLUMNS}, stop_epoch FROM audit WHERE org_id = $1 AND stop_epoch > $2
    ORDER BY stop_epoch FETCH FIRST ($3) ROWS WITH TIES
  ) page ORDER BY stop_epoch, seq`
const OF_EPOCH = `SELECT ${COLUMNS} FROM audit WHERE org_id = $1 AND stop_epoch = $2 ORDER BY seq`
const NEWEST = `
  SELECT ${COLUMNS} FROM audit
  WHERE org_id = $1 AND stop_epoch < $2 AND stop_epoch >= (
    SELECT min(stop_epoch) FROM (
      SELECT DISTINCT stop_epoch FROM audit WHERE org_id = $1 AND stop_epoch < $2
      ORDER BY stop_epoch DESC LIMIT $3
    ) newest)
  ORDER BY stop_epoch DESC, seq`
const KNOWN = `
  SELECT wanted::bigint AS epoch FROM json_array_elements_text($2::json) wanted
  WHERE EXISTS (SELECT FROM audit WHERE org_id = $1 AND stop_epoch = wanted::bigint)`
const DEVICES = `
  SELECT stop.seq, stop.device_id, stop.before, now.epoch, now.revoked, now.removed
  FROM (
    SELECT org_id, seq, device_id, before FROM audit
    WHERE org_id = $1 AND stop_epoch = $2 AND device_id IS NOT NULL AND seq > $3 ORDER BY seq LIMIT $4
  ) stop LEFT JOIN devices now USING (org_id, device_id)
  ORDER BY stop.seq`

/** For `EXPLAIN`. */
export const STOP_STATEMENTS = { SINCE, OF_EPOCH, NEWEST, KNOWN, DEVICES }

export function createStopReader({ query }: Pick<Database, 'query'>): StopReader {
  return {
    since: async (orgId, afterEpoch, limit) =>
      stopsOf(await query(SINCE, [orgId, afterEpoch, Math.max(1, limit)])),
  }
}

export function createStopReads({
  query,
}: Pick<Database, 'query'>): Pick<StopStore, 'listStops' | 'listStopDevices' | 'knownStops'> {
  return {
    listStops: async (orgId, { epoch, beforeEpoch = Number.MAX_SAFE_INTEGER, limit }) =>
      stopsOf(
        await (epoch === undefined
          ? query(NEWEST, [orgId, beforeEpoch, limit])
          : query(OF_EPOCH, [orgId, epoch])),
      ),
    listStopDevices: async (orgId, epoch, { after, limit }) =>
      (await query(DEVICES, [orgId, epoch, after, limit])).map(stopDeviceOf),
    knownStops: async (orgId, epochs) =>
      new Set((await query(KNOWN, [orgId, JSON.stringify(epochs)])).map((row) => Number(row['epoch']))),
  }
}

function stopDeviceOf({ seq, device_id: deviceId, before, epoch, revoked, removed }: Row): StopDevice {
  const now = epoch === null ? undefined : { epoch, revoked: revoked === 1, removed: removed === 1 }
  return { seq, deviceId, wasRevoked: wasRevoked(before), now } as StopDevice
}

function wasRevoked(before: Row[string] | undefined): boolean {
  try {
    return (JSON.parse(String(before)) as { readonly revoked?: unknown } | null)?.revoked === true
  } catch {
    // Somebody tampered with it.
    return false
  }
}
