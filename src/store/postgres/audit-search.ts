import type { AuditRow } from '../../control-plane/records.ts'
import type { ControlPlaneStore } from '../../control-plane/store.ts'
import { matchesDevicePattern } from '../../device-patterns.ts'
import { audit } from '../control-plane-rows.ts'
import { devicePatternRegex } from '../device-pattern-regex.ts'
import { auditConditions } from '../filters.ts'
import type { Database } from './database.ts'
import { allOf } from './statements.ts'

const DIRECTIONS = {
  oldest: { after: '>', order: 'seq' },
  newest: { after: '<', order: 'seq DESC' },
} as const

/** Looks at a bounded part of the chain, in its own order: no index is needed for that. */
export function createAuditSearch({ snapshot }: Database): ControlPlaneStore['searchAudit'] {
  return (orgId, filter, page) =>
    snapshot(async (session) => {
      const { after, order } = DIRECTIONS[page.order]
      const limit = Math.max(1, page.limit)
      const conditions = auditConditions(filter)
      const { device } = filter
      // Of a lock the pattern is looked at below: Postgres cannot read all that JSON can say.
      if (device !== undefined)
        conditions.push(['(device_id IS NULL OR device_id ~ ?)', devicePatternRegex(device)])
      const { sql, values } = allOf(conditions, 4)
      const from = `FROM audit WHERE org_id = $1 AND seq ${after} $2 ORDER BY ${order}`
      const [[last], found] = await Promise.all([
        session.query(`SELECT seq ${from} LIMIT 1 OFFSET $3`, [orgId, page.from, limit - 1]),
        session.query(
          `SELECT ${audit.list} FROM (SELECT ${audit.list} ${from} LIMIT $3) slice WHERE ${sql} ORDER BY ${order}`,
          [orgId, page.from, limit, ...values],
        ),
      ])
      const rows = found.map(audit.of)
      return {
        rows: device === undefined ? rows : rows.filter((row) => isAbout(row, device)),
        lookedTo: last === undefined ? null : Number(last['seq']),
      }
    })
}

/** As in the feed: a lock is about a device or pattern when either covers the other. */
function isAbout({ deviceId, after }: AuditRow, device: string): boolean {
  if (deviceId !== null) return matchesDevicePattern(device, deviceId)
  const { pattern } = (after ?? {}) as { readonly pattern?: unknown }
  if (typeof pattern !== 'string') return false
  return matchesDevicePattern(device, pattern) || matchesDevicePattern(pattern, device)
}
