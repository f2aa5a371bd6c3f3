import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'

import { patternsMatching } from '../../control-plane/patterns.ts'
import type { DecisionReader, DecisionSnapshot, DeviceState } from '../../control-plane/store.ts'
import { jsonOf } from '../control-plane-rows.ts'
import { storeError } from './open.ts'

/**
 * Reads what a validate is decided from: one statement, so one snapshot, in autocommit and read to its end, since a
 * statement left open would go on seeing yesterday's rows (G2). One row, however many devices; it comes as an array,
 * because naming its columns would take as long as finding them.
 *
 * An org that holds locks is read by a second statement, which sees everything anew, the locks too. Each pattern that
 * could match a device is looked up, so the number of locks costs nothing; an org without any pays nothing.
 */
export function createDecisionReader(db: DatabaseSync, file: string): DecisionReader {
  const lean = statementsByDevices(db, false)
  const complete = statementsByDevices(db, true)
  return {
    read(keyId, deviceIds) {
      const devices = deviceIds.length
      try {
        const row = lean(devices).get(keyId, ...deviceIds) as Columns | undefined
        if (row === undefined || row[ACTIVE_LOCKS] === 0) return row && snapshotOf(row, keyId, devices)
        const patterns = deviceIds.map((deviceId) => JSON.stringify(patternsMatching(deviceId)))
        const anew = complete(devices).get(keyId, ...deviceIds, ...patterns) as Columns | undefined
        return anew && snapshotOf(anew, keyId, devices)
      } catch (thrown) {
        throw storeError(thrown, file)
      }
    },
  }
}

type Columns = readonly SQLOutputValue[]

const KEY = 'k.org_id, k.kind, k.digest, k.bindings, k.ends_at_ms, k.ended_at_ms, k.ended_as'
const ORG = 'o.epoch, o.disabled, o.plan_state, o.access_until_ms, o.cap, o.active_locks'
const ACTIVE_LOCKS = 12
const FIRST_DEVICE_COLUMN = 13
const COLUMNS_PER_DEVICE = 4

function statementsByDevices(db: DatabaseSync, withLocks: boolean): (devices: number) => StatementSync {
  const statements = new Map<number, StatementSync>()
  return (devices) => {
    const known = statements.get(devices)
    if (known !== undefined) return known
    const statement = db.prepare(snapshotSql(devices, withLocks))
    statement.setReturnArrays(true)
    statements.set(devices, statement)
    return statement
  }
}

/** Parameters: the key, each device, and with locks a JSON list of the patterns of each device. */
function snapshotSql(devices: number, withLocks: boolean): string {
  const each = (text: (alias: string, index: number) => string) =>
    Array.from({ length: devices }, (_, index) => text(`d${index}`, index)).join('')
  const locked = (_: string, index: number) => `, EXISTS (
    SELECT 1 FROM json_each(?${2 + devices + index}) p
    CROSS JOIN locks l ON l.org_id = k.org_id AND l.active = 1 AND l.pattern = p.value)`
  return `
    SELECT ${KEY}, ${ORG}
    ${each((d) => `, ${d}.revoked, ${d}.removed, ${d}.slot, ${d}.epoch`)}
    ${withLocks ? each(locked) : ''}
    FROM keys k
    JOIN orgs o ON o.org_id = k.org_id
    ${each((d, i) => `LEFT JOIN devices ${d} ON ${d}.org_id = o.org_id AND ${d}.device_id = ?${i + 2}\n`)}
    WHERE k.key_id = ?1`
}

function snapshotOf(row: Columns, keyId: string, devices: number): DecisionSnapshot {
  const states: (DeviceState | undefined)[] = []
  const firstLock = FIRST_DEVICE_COLUMN + devices * COLUMNS_PER_DEVICE
  for (let index = 0; index < devices; index++) {
    // Without locks those columns are not there.
    const locked = row[firstLock + index] === 1
    states.push(stateAt(row, FIRST_DEVICE_COLUMN + index * COLUMNS_PER_DEVICE, locked))
  }
  const [orgId, kind, digest, bindings, endsAtMs, endedAtMs, endedAs] = row
  const key = { keyId, orgId, kind, digest, bindings: jsonOf(bindings), endsAtMs, endedAtMs, endedAs }
  return {
    key: key as DecisionSnapshot['key'],
    orgEpoch: row[7] as number,
    orgDisabled: row[8] !== 0,
    planState: row[9] as string,
    accessUntilMs: row[10] as number | null,
    cap: row[11] as number,
    devices: states,
  }
}

function stateAt(row: Columns, column: number, locked: boolean): DeviceState | undefined {
  if (row[column] === null) return undefined
  return {
    revoked: row[column] !== 0,
    removed: row[column + 1] !== 0,
    slot: row[column + 2] as number | null,
    epoch: row[column + 3] as number,
    locked,
  }
}
