import type { DatabaseSync, SQLInputValue } from 'node:sqlite'

import type { AuditFilter, ControlPlaneStore } from '../../control-plane/store.ts'
import { audit } from '../control-plane-rows.ts'
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
      const [conditions, values] = conditionsOf(filter)
      const within = ['org_id = ?', `seq ${after} ?`, `seq ${upTo} ?`]
      const rows = db
        .prepare(
          `SELECT ${audit.list} FROM audit WHERE ${[...within, ...conditions].join(' AND ')} ORDER BY ${order}`,
        )
        .all(orgId, page.from, lookedTo ?? end, ...values)
      return { rows: rows.map(audit.of), lookedTo }
    })
}

const PATTERN = "after ->> '$.pattern'"
const ABOUT_DEVICE = 'device_id IS NOT NULL AND matches_pattern(?, device_id)'
/** As in the feed: a lock is about a device or pattern when either covers the other. */
const ABOUT_PATTERN = `iif(device_id IS NULL AND json_valid(after), ${PATTERN} IS NOT NULL
  AND (matches_pattern(?, ${PATTERN}) OR matches_pattern(${PATTERN}, ?)), 0)`

function conditionsOf({ action, device, actor, fromMs, toMs }: AuditFilter): [string[], SQLInputValue[]] {
  const all: (readonly [condition: string, ...values: (SQLInputValue | undefined)[]])[] = [
    ["(action = ? OR substr(action, 1, length(?) + 1) = ? || '.')", action, action, action],
    [`(${ABOUT_DEVICE} OR ${ABOUT_PATTERN})`, device, device, device],
    ['actor = ?', actor],
    ['at_ms >= ?', fromMs],
    ['at_ms < ?', toMs],
  ]
  const given = all.filter(([, value]) => value !== undefined)
  return [given.map(([condition]) => condition), given.flatMap(([, ...values]) => values as SQLInputValue[])]
}
