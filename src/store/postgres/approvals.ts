import type { ApprovalRecord, ApprovalStore } from '../../control-plane/approvals/approval-store.ts'
import { among, partsAfter, takePage } from '../approval-page.ts'
import { orgs } from '../control-plane-rows.ts'
import { approvals } from '../desk-rows.ts'
import type { ChangeParts } from './control-plane-change.ts'
import type { DeviceFinder } from './control-plane-selection.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import { deleteBeyond, deleteSome, jsonTexts, putAll, upsertAll } from './statements.ts'

const COLUMNS = approvals.list
// In the order that they were asked for.
const BY_IDS = `
  SELECT ${COLUMNS} FROM json_array_elements_text($2::json) WITH ORDINALITY asked (id, place)
  JOIN approvals ON org_id = $1 AND approval_id = asked.id ORDER BY place`
// What waits may expire outside of a change: not between where one has read that it waits, and what that leads to.
const BY_IDS_LOCKED = `${BY_IDS} FOR NO KEY UPDATE OF approvals`
const COUNT_WAITING = `SELECT count(*) AS waiting FROM approvals WHERE org_id = $1 AND state = 'waiting'`
const COUNTS = `
  SELECT count(*) AS waiting, count(*) FILTER (WHERE asked_by = $2) AS of_key
  FROM approvals WHERE org_id = $1 AND state = 'waiting'`
const PUT = upsertAll('approvals', ['org_id', ...approvals.columns], ['org_id', 'approval_id'])
const DROP_SPARE = deleteBeyond(
  'approvals',
  "org_id = $1 AND state IN ('expired', 'withdrawn') ORDER BY ended_at_ms DESC OFFSET $2",
)
const ORG = `SELECT ${orgs.list} FROM orgs WHERE org_id = $1`

/** The first of a part of the desk, and of their arguments not many more bytes than are wanted. */
const part = (where: string, order: string) => `
  SELECT ${COLUMNS} FROM (
    SELECT ${COLUMNS}, sum(octet_length(arguments_json)) OVER (ORDER BY ${order}) - octet_length(arguments_json)
      AS bytes_before
    FROM (
      SELECT ${COLUMNS} FROM approvals
      WHERE org_id = $1 AND ${where} AND ($4::text IS NULL OR run_id = $4) AND ($5::text IS NULL OR state = $5)
      ORDER BY ${order} LIMIT $6
    ) first
  ) measured WHERE bytes_before <= $7 ORDER BY ${order}`
const WAITING = part(
  "state = 'waiting' AND (expires_at_ms, approval_id) > ($2, $3)",
  'expires_at_ms, approval_id',
)
const OTHERS = part(
  "state <> 'waiting' AND (asked_at_ms, approval_id) < ($2, $3)",
  'asked_at_ms DESC, approval_id DESC',
)
/** For `EXPLAIN`. */
export const APPROVAL_STATEMENTS = { WAITING, OTHERS }

const DUE = "state = 'waiting' AND expires_at_ms <= $1"
const ANY_DUE = `SELECT 1 AS due FROM approvals WHERE ${DUE} LIMIT 1`
// Those that a change has in hand are left to it.
const EXPIRE = `
  UPDATE approvals SET state = 'expired', ended_at_ms = expires_at_ms WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM approvals WHERE ${DUE} LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED))`
const PRUNE = deleteSome('approvals', "state <> 'waiting' AND ended_at_ms < $1 LIMIT $2")

/** The parts of a change that are about the desk. */
export const approvalChanges: ChangeParts['approvals'] = {
  read: (session, orgId, ids) => readByIds(session, BY_IDS_LOCKED, orgId, ids),
  counts: async (session, orgId, keyId) => {
    const [row] = await session.query(COUNTS, [orgId, keyId ?? ''])
    return { waiting: Number(row?.['waiting']), waitingOfKey: Number(row?.['of_key']) }
  },
  write: async (session, orgId, records, keepSpare) => {
    const common = { org_id: orgId }
    await Promise.all([
      putAll(session, PUT, { mapping: approvals, records, keyOf: ({ approvalId }) => approvalId, common }),
      keepSpare === undefined ? undefined : session.run(DROP_SPARE, [orgId, keepSpare]),
    ])
  },
}

async function readByIds(
  session: Session,
  statement: string,
  orgId: string,
  ids: readonly string[],
): Promise<ApprovalRecord[]> {
  if (ids.length === 0) return []
  return (await session.query(statement, [orgId, jsonTexts([...new Set(ids)])])).map(approvals.of)
}

export function createApprovalStore(
  { query, snapshot, transact }: Database,
  finder: DeviceFinder,
): ApprovalStore {
  return {
    listApprovals: (orgId, filter, page) =>
      snapshot(async (session) => {
        const [[orgRow], [counted], found] = await Promise.all([
          session.query(ORG, [orgId]),
          session.query(COUNT_WAITING, [orgId]),
          find(session, orgId, filter, page),
        ])
        if (orgRow === undefined) return undefined
        const org = orgs.of(orgRow)
        const { taken, next } = takePage(found, page)
        const ids = [...new Set(taken.flatMap(({ deviceIds }) => deviceIds))]
        const [{ devices }, lockedDevices] = await Promise.all([
          finder.find(session, orgId, { ids }),
          finder.locked(session, org, ids),
        ])
        return { org, approvals: taken, next, waiting: Number(counted?.['waiting']), devices, lockedDevices }
      }),
    expireApprovals: async (nowMs, limit) => {
      // Mostly nothing is due.
      if ((await query(ANY_DUE, [nowMs])).length === 0) return 0
      return transact((session) => session.run(EXPIRE, [nowMs, limit]))
    },
    pruneApprovals: (beforeMs, limit) => transact((session) => session.run(PRUNE, [beforeMs, limit])),
  }
}

type Filter = Parameters<ApprovalStore['listApprovals']>[1]
type Page = Parameters<ApprovalStore['listApprovals']>[2]

/** In the order of a page: a little more than has room on it. */
async function find(session: Session, orgId: string, filter: Filter, page: Page): Promise<ApprovalRecord[]> {
  const { ids, state, runId } = filter
  const { after, limit, maxBytes } = page
  if (ids !== undefined) return among(await readByIds(session, BY_IDS, orgId, ids), filter, after)
  const places = partsAfter(state, after)
  const ofPart = (statement: string, place: typeof places.waiting) =>
    place === undefined
      ? []
      : session.query(statement, [
          orgId,
          place.atMs,
          place.approvalId,
          runId ?? null,
          state ?? null,
          limit + 1,
          maxBytes,
        ])
  const parts = await Promise.all([ofPart(WAITING, places.waiting), ofPart(OTHERS, places.others)])
  return parts.flat().map(approvals.of)
}
