import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'

import type { DecisionReader, DecisionSnapshot, DeviceState } from '../../control-plane/store.ts'
import type { KeyKind } from '../../machineid/wire.ts'
import { bindingsOf } from './control-plane-rows.ts'
import { storeError } from './open.ts'

/**
 * Reads what a validate is decided from: one statement, so one snapshot, in autocommit and read to its end, since a
 * statement left open would go on seeing yesterday's rows (G2). One row, however many devices; it comes as an array,
 * because naming its columns would take as long as finding them.
 */
export function createDecisionReader(db: DatabaseSync, file: string): DecisionReader {
  const statements = new Map<number, StatementSync>()
  const statementFor = (devices: number): StatementSync => {
    const known = statements.get(devices)
    if (known !== undefined) return known
    const statement = db.prepare(snapshotSql(devices))
    statement.setReturnArrays(true)
    statements.set(devices, statement)
    return statement
  }
  return {
    read(keyId, deviceIds) {
      try {
        const row = statementFor(deviceIds.length).get(keyId, ...deviceIds) as Columns | undefined
        return row && snapshotOf(row, keyId, deviceIds.length)
      } catch (thrown) {
        throw storeError(thrown, file)
      }
    },
  }
}

const KEY_AND_ORG = 'k.org_id, k.kind, k.digest, k.bindings, o.epoch, o.disabled, o.plan_state, o.cap'
const FIRST_DEVICE_COLUMN = 8
const COLUMNS_PER_DEVICE = 4

function snapshotSql(devices: number): string {
  const each = (text: (alias: string, index: number) => string) =>
    Array.from({ length: devices }, (_, index) => text(`d${index}`, index)).join('')
  return `
    SELECT ${KEY_AND_ORG}${each((d) => `, ${d}.revoked, ${d}.removed, ${d}.slot, ${d}.epoch`)}
    FROM keys k
    JOIN orgs o ON o.org_id = k.org_id
    ${each((d, i) => `LEFT JOIN devices ${d} ON ${d}.org_id = o.org_id AND ${d}.device_id = ?${i + 2}\n`)}
    WHERE k.key_id = ?1`
}

type Columns = readonly SQLOutputValue[]

function snapshotOf(row: Columns, keyId: string, devices: number): DecisionSnapshot {
  const states: (DeviceState | undefined)[] = []
  for (let index = 0; index < devices; index++) {
    states.push(stateAt(row, FIRST_DEVICE_COLUMN + index * COLUMNS_PER_DEVICE))
  }
  const [orgId, kind, digest, bindings, orgEpoch, disabled, planState, cap] = row
  return {
    key: {
      keyId,
      orgId: orgId as string,
      kind: kind as KeyKind,
      digest: digest as string,
      bindings: bindingsOf(bindings),
    },
    orgEpoch: orgEpoch as number,
    orgDisabled: disabled !== 0,
    planState: planState as string,
    cap: cap as number,
    devices: states,
  }
}

function stateAt(row: Columns, column: number): DeviceState | undefined {
  if (row[column] === null) return undefined
  return {
    revoked: row[column] !== 0,
    removed: row[column + 1] !== 0,
    slot: row[column + 2] as number | null,
    epoch: row[column + 3] as number,
  }
}
