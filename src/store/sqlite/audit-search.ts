import type { DatabaseSync, SQLInputValue } from 'node:sqlite'

import type { AuditFilter, ControlPlaneStore } from '../../control-plane/store.ts'
import { audit } from '../control-plane-rows.ts'
import { auditConditions } from '../filters.ts'
import type { Writer } from './transaction.ts'

/**
 * Looks at a bounded part of the chain, in its own order: no index is needed for that, and none has to be made durable
 * with every stop.
 */
export function createAuditSearch(db: DatabaseSync, { read }: Writer): ControlPlaneStore['searchAudit'] {
  const directions = {
    oldest: { after: '>', upTo: '<=', order: 'seq', end: Number.MAX_SAFE_INTEGER },
    newest: { after: '<', upTo: '>=', order: 'seq DESC', end: 0 },
  } as const
  const lastOf = ({ after, order }: (typeof directions)['oldest' | 'newest']) =>
    db.prepare(`SELECT seq FROM audit WHERE org_id = ? AND seq ${after} ? ORDER BY ${order} LIMIT 1 OFFSET ?`)
  const last = { oldest: lastOf(directions.oldest), newest: lastOf(directions.newest) }
  return async (orgId, filter, page) =>
    read(() => {
      const { after, upTo, order, end } = directions[page.order]
      const found = last[page.order].get(orgId, page.from, Math.max(1, page.limit) - 1)
      const lookedTo = found === undefined ? null : Number(found['seq'])
      const conditions = conditionsOf(filter)
      const within = ['org_id = ?', `seq ${after} ?`, `seq ${upTo} ?`, ...conditions.map(([sql]) => sql)]
      const rows = db
        .prepare(`SELECT ${audit.list} FROM audit WHERE ${within.join(' AND ')} ORDER BY ${order}`)
        .all(orgId, page.from, lookedTo ?? end, ...conditions.flatMap(([, ...values]) => values))
      return { rows: rows.map(audit.of), lookedTo }
    })
}

const PATTERN = "after ->> '$.pattern'"
const ABOUT_DEVICE = 'device_id IS NOT NULL AND matches_pattern(?, device_id)'
/** As in the feed: a lock is about a device or pattern when either covers the other. */
const ABOUT_PATTERN = `iif(device_id IS NULL AND json_valid(after), ${PATTERN} IS NOT NULL
  AND (matches_pattern(?, ${PATTERN}) OR matches_pattern(${PATTERN}, ?)), 0)`

/** Each with a value for each of its places. */
function conditionsOf(filter: AuditFilter): readonly (readonly [sql: string, ...values: SQLInputValue[]])[] {
  const { device } = filter
  const others = auditConditions(filter).map(
    ([sql, value]) => [sql, ...Array.from(sql.matchAll(/\?/g), () => value)] as const,
  )
  if (device === undefined) return others
  return [...others, [`(${ABOUT_DEVICE} OR ${ABOUT_PATTERN})`, device, device, device]]
}
