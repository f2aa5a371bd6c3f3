import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'

import type {
  ApprovalFilter,
  ApprovalPlace,
  ApprovalRecord,
  ApprovalStore,
} from '../../control-plane/approvals/approval-store.ts'
import { json, mapping, orgs } from '../control-plane-rows.ts'
import { upsert } from './statements.ts'
import type { DeviceFinder } from './control-plane-selection.ts'
import type { Writer } from './transaction.ts'

/** Without the org, which is the first part of the key. */
const approvals = mapping<ApprovalRecord>({
  approvalId: 'approval_id',
  runId: 'run_id',
  agent: 'agent',
  caller: 'caller',
  callId: 'call_id',
  tool: 'tool',
  surface: 'surface',
  deviceIds: json('device_ids'),
  digest: 'digest',
  schemaDigest: 'schema_digest',
  argumentsJson: 'arguments_json',
  askedAtMs: 'asked_at_ms',
  askedBy: 'asked_by',
  expiresAtMs: 'expires_at_ms',
  state: 'state',
  endedAtMs: 'ended_at_ms',
  decidedBy: 'decided_by',
  message: 'message',
})

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
  const placeOr = (isPlace: boolean, atMs: number): Record<string, SQLInputValue> =>
    isPlace && after !== undefined ? { atMs: after.atMs, afterId: after.approvalId } : { atMs, afterId: '' }
  const inPart = function* (statement: StatementSync, place: Record<string, SQLInputValue>) {
    for (const row of statement.iterate({ ...wanted, ...place })) yield approvals.of(row)
  }
  if (after?.waiting !== false && (state ?? 'waiting') === 'waiting') {
    yield* inPart(parts.waiting, placeOr(after?.waiting === true, Number.MIN_SAFE_INTEGER))
  }
  if (state === 'waiting') return
  yield* inPart(parts.others, placeOr(after?.waiting === false, Number.MAX_SAFE_INTEGER))
}

/** What fits, in the order of a page. */
function among(
  found: readonly ApprovalRecord[],
  { state, runId }: ApprovalFilter,
  after: ApprovalPlace | undefined,
): ApprovalRecord[] {
  return found
    .filter((one) => state === undefined || one.state === state)
    .filter((one) => runId === undefined || one.runId === runId)
    .filter((one) => after === undefined || inOrder(after, placeOf(one)) < 0)
    .toSorted((a, b) => inOrder(placeOf(a), placeOf(b)))
}

function inOrder(a: ApprovalPlace, b: ApprovalPlace): number {
  if (a.waiting !== b.waiting) return a.waiting ? -1 : 1
  const byTime = a.atMs - b.atMs || (a.approvalId < b.approvalId ? -1 : Number(a.approvalId > b.approvalId))
  return a.waiting ? byTime : -byTime
}

function takePage(
  found: Iterable<ApprovalRecord>,
  { limit, maxBytes }: { readonly limit: number; readonly maxBytes: number },
): { readonly taken: ApprovalRecord[]; readonly next: ApprovalPlace | null } {
  const taken: ApprovalRecord[] = []
  let bytes = 0
  for (const approval of found) {
    bytes += Buffer.byteLength(approval.argumentsJson)
    const last = taken.at(-1)
    if (last !== undefined && (taken.length >= limit || bytes > maxBytes))
      return { taken, next: placeOf(last) }
    taken.push(approval)
  }
  return { taken, next: null }
}

function placeOf({ state, expiresAtMs, askedAtMs, approvalId }: ApprovalRecord): ApprovalPlace {
  const waiting = state === 'waiting'
  return { waiting, atMs: waiting ? expiresAtMs : askedAtMs, approvalId }
}
