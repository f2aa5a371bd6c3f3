import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'

import { patternsMatching } from '../../control-plane/patterns.ts'
import { matchesDevicePattern } from '../../device-patterns.ts'
import type { DeviceRecord, OrgRecord } from '../../control-plane/records.ts'
import type { DeviceSelection } from '../../control-plane/store.ts'
import * as rows from '../control-plane-rows.ts'

export interface DeviceFinder {
  find(
    orgId: string,
    selection: DeviceSelection,
    limit?: number,
  ): { readonly devices: readonly DeviceRecord[]; readonly count: number }
  /** Those that an active lock matches. */
  locked(org: OrgRecord, deviceIds: readonly string[]): Set<string>
}

type Condition = readonly [sql: string, ...values: SQLInputValue[]]

/** Finds devices by what a `DeviceSelection` says, and the locks on them. */
export function createDeviceFinder(db: DatabaseSync): DeviceFinder {
  addPatternFunction(db)
  const statements = new Map<string, StatementSync>()
  const prepared = (sql: string): StatementSync => {
    const statement = statements.get(sql) ?? db.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  const byId = db.prepare(`SELECT ${rows.devices.list} FROM devices WHERE org_id = ? AND device_id = ?`)
  const heldPatterns = db.prepare('SELECT pattern FROM locks WHERE org_id = ? AND active = 1')
  const heldAmong = db.prepare(
    `SELECT pattern FROM json_each(?) candidate
     CROSS JOIN locks ON org_id = ? AND active = 1 AND pattern = candidate.value`,
  )

  const byIds = (orgId: string, ids: readonly string[], limit: number | undefined) => {
    const found = [...new Set(ids)].map((id) => byId.get(orgId, id)).filter((row) => row !== undefined)
    return { devices: found.slice(0, limit).map(rows.devices.of), count: found.length }
  }

  return {
    find: (orgId, selection, limit) => {
      if ('ids' in selection) return byIds(orgId, selection.ids, limit)
      const [condition, ...values] = conditionOf(selection)
      const from = `FROM devices WHERE org_id = ? AND removed = 0 AND ${condition}`
      const devices = prepared(`SELECT ${rows.devices.list} ${from} ORDER BY device_id LIMIT ?`)
        .all(orgId, ...values, limit ?? -1)
        .map(rows.devices.of)
      if (limit === undefined || devices.length < limit) return { devices, count: devices.length }
      const counted = prepared(`SELECT count(*) AS devices ${from}`).get(orgId, ...values)
      return { devices, count: Number(counted?.['devices']) }
    },

    locked: ({ orgId, activeLocks }, deviceIds) => {
      if (activeLocks === 0 || deviceIds.length === 0) return new Set()
      // Few devices: look up every pattern that could match them. Many: read every lock.
      const few = deviceIds.length <= 16
      const found = few
        ? heldAmong.all(JSON.stringify(deviceIds.flatMap(patternsMatching)), orgId)
        : heldPatterns.all(orgId)
      const held = new Set(found.map(({ pattern }) => pattern))
      return new Set(deviceIds.filter((id) => patternsMatching(id).some((pattern) => held.has(pattern))))
    },
  }
}

/** `matches_pattern(pattern, device_id)` in SQL. */
function addPatternFunction(db: DatabaseSync): void {
  db.function('matches_pattern', { deterministic: true, directOnly: true }, (pattern, deviceId) =>
    Number(matchesDevicePattern(String(pattern), String(deviceId))),
  )
}

function conditionOf(selection: Exclude<DeviceSelection, { readonly ids: unknown }>): Condition {
  if ('pattern' in selection) {
    // What comes before the first * is where to look in the index.
    const prefix = selection.pattern.split('*', 1)[0] ?? ''
    const within = 'device_id BETWEEN ? AND ? AND matches_pattern(?, device_id)'
    return [within, prefix, `${prefix}\u{10FFFF}`, selection.pattern]
  }
  if ('label' in selection) {
    const { name, value } = selection.label
    return ['EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)', name, value]
  }
  if ('lastSeenBy' in selection) {
    const seen =
      'SELECT 1 FROM devices_seen s WHERE s.org_id = devices.org_id AND s.device_id = devices.device_id'
    return [`EXISTS (${seen} AND s.key_id = ?)`, selection.lastSeenBy]
  }
  if ('slotAbove' in selection) return ['slot > ?', selection.slotAbove]
  return ['TRUE']
}
