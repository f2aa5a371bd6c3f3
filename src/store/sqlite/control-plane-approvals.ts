import type { DatabaseSync, StatementSync } from 'node:sqlite'

import type {
  ApprovalFilter,
  ApprovalPlace,
  ApprovalRecord,
  ApprovalStore,
} from '../../control-plane/approvals/approval-store.ts'
import { among, partsAfter, takePage } from '../approval-page.ts'
import { orgs } from '../control-plane-rows.ts'
import { approvals } from '../desk-rows.ts'
import { upsert } from './statements.ts'
import type { DeviceFinder } from './control-plane-selection.ts'
import type { Writer } from './transaction.ts'

const FITS = `org_id = :orgId AND (:state IS NULL OR state = :state) AND (:runId IS NULL OR run_id = :runId)`
const COLUMNS = `SELECT ${approvals.list} FROM approvals`
export const WAITING_APPROVALS = `
  ${COLUMNS} INDEXED BY approvals_waiting
  WHERE state = 'waiting' AND (expires_at_ms, approval_id) > (:atMs, :afterId) AND ${FITS}
  ORDER BY expires_at_ms, approval_id`
export const OTHER_APPROVALS = `
  ${COLUMNS} INDEXED BY approvals_others
  WHERE state <> 'waiting' AND (asked_at_ms, approval_id) < (:atMs, :afterId) AND ${FITS}
  ORDER BY asked_at_ms DESC, approval_id DESC`
const BY_ID = `${COLUMNS} WHERE org_id = ? AND approval_id = ?`
export const COUNT_WAITING = `SELECT count(*) AS waiting FROM approvals WHERE org_id = ? AND state = 'waiting'`
export const DUE_APPROVALS = `SELECT org_id, approval_id FROM approvals
  WHERE state = 'waiting' AND expires_at_ms <= ? LIMIT ?`

/** The parts of a change that are about the desk. */
export function createApprovalChanges(db: DatabaseSync) {
  const byId = db.prepare(BY_ID)
  const countWaiting = db.prepare(COUNT_WAITING)
  const countOfKey = db.prepare(`${COUNT_WAITING} AND asked_by = ?`)
  const put = db.prepare(upsert('approvals', ['org_id', ...approvals.columns], ['org_id', 'approval_id']))
  const dropSpare = db.prepare(
    `DELETE FROM approvals WHERE rowid IN (
       SELECT rowid FROM approvals WHERE org_id = ? AND state IN ('expired', 'withdrawn')
       ORDER BY ended_at_ms DESC LIMIT -1 OFFSET ?)`,
  )
  return {
    read: (orgId: string, ids: readonly string[] = []) => readByIds(byId, orgId, ids),
    counts: (orgId: string, keyId: string | undefined) => ({
      waiting: Number(countWaiting.get(orgId)?.['waiting']),
      waitingOfKey: Number(countOfKey.get(orgId, keyId ?? '')?.['waiting']),
    }),
    write: (orgId: string, records: readonly ApprovalRecord[] = [], keepSpare?: number): void => {
      for (const record of records) put.run(orgId, ...approvals.values(record))
      if (keepSpare !== undefined) dropSpare.run(orgId, keepSpare)
    },
  }
}

function readByIds(byId: StatementSync, orgId: string, ids: readonly string[]): ApprovalRecord[] {
  return [...new Set(ids)].flatMap((id) => {
    const row = byId.get(orgId, id)
    return row === undefined ? [] : [approvals.of(row)]
  })
}

export function createApprovalStore(
  db: DatabaseSync,
  { read, transact }: Writer,
  finder: DeviceFinder,
): ApprovalStore {
  const org = db.prepare(`SELECT ${orgs.list} FROM orgs WHERE org_id = ?`)
  const byId = db.prepare(BY_ID)
  const parts = { waiting: db.prepare(WAITING_APPROVALS), others: db.prepare(OTHER_APPROVALS) }
  const countWaiting = db.prepare(COUNT_WAITING)
  const due = db.prepare(DUE_APPROVALS)
  const expire = db.prepare(
    `UPDATE approvals SET state = 'expired', ended_at_ms = expires_at_ms
     WHERE (org_id, approval_id) IN (${DUE_APPROVALS})`,
  )
  const prune = db.prepare(
    `DELETE FROM approvals WHERE rowid IN (
       SELECT rowid FROM approvals WHERE state <> 'waiting' AND ended_at_ms < ? LIMIT ?)`,
  )

  return {
    listApprovals: async (orgId, filter, page) =>
      read(() => {
        const row = org.get(orgId)
        if (row === undefined) return undefined
        const found = orgs.of(row)
        const { taken, next } = takePage(
          filter.ids === undefined
            ? rowsFrom(parts, orgId, filter, page.after)
            : among(readByIds(byId, orgId, filter.ids), filter, page.after),
          page,
        )
        const ids = [...new Set(taken.flatMap(({ deviceIds }) => deviceIds))]
        return {
          org: found,
          approvals: taken,
          next,
          waiting: Number(countWaiting.get(orgId)?.['waiting']),
          devices: finder.find(orgId, { ids }).devices,
          lockedDevices: finder.locked(found, ids),
        }
      }),
    expireApprovals: async (nowMs, limit) => {
      // Mostly nothing is due, and a transaction that writes nothing is waited for all the same.
      if (read(() => due.get(nowMs, 1)) === undefined) return 0
      return transact(() => Number(expire.run(nowMs, limit).changes))
    },
    pruneApprovals: async (beforeMs, limit) => transact(() => Number(prune.run(beforeMs, limit).changes)),
  }
}

/** Reads no further than it is asked to. */
function* rowsFrom(
  parts: { readonly waiting: StatementSync; readonly others: StatementSync },
  orgId: string,
  { state, runId }: ApprovalFilter,
  after: ApprovalPlace | undefined,
): Generator<ApprovalRecord> {
  const wanted = { orgId, state: state ?? null, runId: runId ?? null }
  const places = partsAfter(state, after)
  for (const part of ['waiting', 'others'] as const) {
    const place = places[part]
    if (place === undefined) continue
    for (const row of parts[part].iterate({ ...wanted, atMs: place.atMs, afterId: place.approvalId })) {
      yield approvals.of(row)
    }
  }
}
