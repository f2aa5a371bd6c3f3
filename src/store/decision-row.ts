import type { DecisionSnapshot, DeviceState } from '../control-plane/store.ts'
import { jsonOf, type Value } from './control-plane-rows.ts'

// What a validate is decided from comes as one row, as an array: naming its columns would take as long as finding them.

export type Columns = readonly Value[]

const KEY = 'k.org_id, k.kind, k.digest, k.bindings, k.ends_at_ms, k.ended_at_ms, k.ended_as'
const ORG = 'o.epoch, o.disabled, o.plan_state, o.access_until_ms, o.cap, o.active_locks'
const ACTIVE_LOCKS = 12
const FIRST_DEVICE_COLUMN = 13
const COLUMNS_PER_DEVICE = 4

/** The columns of keys `k`, orgs `o` and devices `d0`, `d1` …, after which those of locks come, 1 where one matches. */
export function decisionColumns(devices: number): string {
  const each = Array.from(
    { length: devices },
    (_, d) => `, d${d}.revoked, d${d}.removed, d${d}.slot, d${d}.epoch`,
  )
  return `${KEY}, ${ORG}${each.join('')}`
}

/** It must be read again, with locks. */
export function holdsLocks(row: Columns): boolean {
  return row[ACTIVE_LOCKS] !== 0
}

/** `withLocks`: its columns are there. */
export function snapshotOf(
  row: Columns,
  keyId: string,
  devices: number,
  withLocks: boolean,
): DecisionSnapshot {
  const states: (DeviceState | undefined)[] = []
  const firstLock = FIRST_DEVICE_COLUMN + devices * COLUMNS_PER_DEVICE
  for (let index = 0; index < devices; index++) {
    const locked = withLocks && row[firstLock + index] === 1
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
