import type { ApprovalRecord, ApprovalState, NewApproval, RunStore } from '../../agents/hosted/run-store.ts'
import { changesOf, firstRefused, recordOf, type ApprovalBindingRow } from '../approval-rows.ts'
import type { Row } from '../control-plane-rows.ts'
import type { Session } from './session.ts'
import { addToOperatorLog } from './operator-log.ts'
import { latchExpired } from './tool-approval-use.ts'

type Decide = RunStore['decide']

/** Without an expiry that has come but was not stored yet. */
const STATE_NOW = `CASE WHEN state IN ('waiting', 'approved') AND expires_at_ms <= $1 THEN 'expired' ELSE state END`
const RECORD = `approval_id AS "approvalId", one.run_id AS "runId", caller, agent, call_id AS "callId", tool, digest,
  schema_digest AS "schemaDigest", surface, arguments, ${STATE_NOW} AS state, message, decided_by AS "decidedBy",
  asked_at_ms AS "askedAtMs", expires_at_ms AS "expiresAtMs" FROM approvals AS one JOIN runs USING (run_id)`
const OF_RUN = `SELECT ${RECORD} WHERE one.run_id = $2 ORDER BY asked_at_ms, one.seq`
const WAITING = `SELECT ${RECORD} WHERE state = 'waiting' AND expires_at_ms > $1 ORDER BY expires_at_ms LIMIT $2`
const COUNT_WAITING = `SELECT count(*) AS approvals FROM approvals WHERE state = 'waiting' AND expires_at_ms > $1`
const OPEN = `SELECT approval_id, call_id, tool, digest, schema_digest, surface FROM approvals
  WHERE run_id = $1 AND state IN ('waiting', 'approved', 'declined')`
/** A decline stays on record as one. */
const END = "UPDATE approvals SET state = 'ended' WHERE approval_id = $1 AND state IN ('waiting', 'approved')"
const ADD = `INSERT INTO approvals (
    approval_id, run_id, call_id, tool, digest, schema_digest, surface, arguments, state, asked_at_ms, expires_at_ms
  ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'waiting', $9, $10)`
const STATES = 'SELECT approval_id, state FROM approvals WHERE run_id = $1 FOR UPDATE'
const DECIDE = `UPDATE approvals SET state = $1, message = $2, decided_by = $3
  WHERE approval_id = $4 AND state = 'waiting'`

/**
 * What waits now, whole: records that wait already stay, others that wait or were approved end, new ones begin. Belongs
 * into a transaction that has locked the run.
 */
export async function replaceApprovals(
  session: Session,
  runId: string,
  wanted: readonly NewApproval[],
  nowMs: number,
): Promise<void> {
  const [, open] = await Promise.all([latchExpired(session, runId, nowMs), session.query(OPEN, [runId])])
  const { added, ended } = changesOf(open as unknown as ApprovalBindingRow[], wanted)
  await Promise.all([
    ...added.map((one) => {
      const { approvalId, callId, tool, digest, schemaDigest, surface, arguments: given, ttlMs } = one
      const binding = [callId, tool, digest, schemaDigest, surface]
      return session.run(ADD, [approvalId, runId, ...binding, given, nowMs, nowMs + ttlMs])
    }),
    ...ended.map(({ approval_id: approvalId }) => session.run(END, [approvalId])),
  ])
}

/** R4. */
export async function decideApprovals(
  session: Session,
  runId: string,
  verdicts: Parameters<Decide>[1],
  { by, nowMs }: { readonly by: string; readonly nowMs: number },
): ReturnType<Decide> {
  const [, rows] = await Promise.all([latchExpired(session, runId, nowMs), session.query(STATES, [runId])])
  const states = rows as unknown as { approval_id: string; state: ApprovalState }[]
  const refused = firstRefused(states, verdicts)
  if (refused !== undefined) return refused
  await Promise.all(
    verdicts.flatMap(({ approvalId, approve, message }) => {
      const action = approve ? 'approval.approve' : 'approval.decline'
      return [
        session.run(DECIDE, [approve ? 'approved' : 'declined', message ?? null, by, approvalId]),
        addToOperatorLog(session, { atMs: nowMs, by, action, subject: approvalId, runId, reason: message }),
      ]
    }),
  )
  return undefined
}

export async function readApprovals(
  session: Session,
  runId: string,
  nowMs: number,
): Promise<readonly ApprovalRecord[]> {
  return (await session.query(OF_RUN, [nowMs, runId])).map(approvalOf)
}

export async function readWaiting(
  session: Session,
  limit: number,
  nowMs: number,
): Promise<readonly ApprovalRecord[]> {
  return (await session.query(WAITING, [nowMs, limit])).map(approvalOf)
}

export async function countWaiting(session: Session, nowMs: number): Promise<number> {
  const [row] = await session.query(COUNT_WAITING, [nowMs])
  return Number(row?.['approvals'])
}

function approvalOf(row: Row): ApprovalRecord {
  return recordOf({ ...row, arguments: new Uint8Array(row['arguments'] as Uint8Array) })
}
