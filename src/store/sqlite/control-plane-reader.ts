import type { DatabaseSync, StatementSync } from 'node:sqlite'

import { patternsMatching } from '../../control-plane/patterns.ts'
import type { DecisionReader } from '../../control-plane/store.ts'
import { decisionColumns, holdsLocks, snapshotOf, type Columns } from '../decision-row.ts'
import { storeError } from './open.ts'

/**
 * Reads what a validate is decided from: one statement, so one snapshot, in autocommit and read to its end, since a
 * statement left open would go on seeing yesterday's rows (G2). One row, however many devices.
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
        if (row === undefined || !holdsLocks(row)) return row && snapshotOf(row, keyId, devices, false)
        const patterns = deviceIds.map((deviceId) => JSON.stringify(patternsMatching(deviceId)))
        const anew = complete(devices).get(keyId, ...deviceIds, ...patterns) as Columns | undefined
        return anew && snapshotOf(anew, keyId, devices, true)
      } catch (thrown) {
        throw storeError(thrown, file)
      }
    },
  }
}

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
    SELECT ${decisionColumns(devices)}
    ${withLocks ? each(locked) : ''}
    FROM keys k
    JOIN orgs o ON o.org_id = k.org_id
    ${each((d, i) => `LEFT JOIN devices ${d} ON ${d}.org_id = o.org_id AND ${d}.device_id = ?${i + 2}\n`)}
    WHERE k.key_id = ?1`
}
