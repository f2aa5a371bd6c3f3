import type { DatabaseSync } from 'node:sqlite'

import type {
  ApprovalRecord,
  ApprovalState,
  ApprovalVerdict,
  NewApproval,
  RunStore,
} from '../../agents/hosted/run-store.ts'
import { changesOf, firstRefused, recordOf, type ApprovalBindingRow } from '../approval-rows.ts'
import type { ApprovalUses } from './approval-use.ts'
import type { OperatorLog } from './operator-log.ts'

/** The approvals of runs. What writes belongs into the caller's transaction. */
export interface Approvals {
  /** What waits now, whole: records that wait already stay, others that wait or were approved end, new ones begin. */
  readonly replace: (runId: string, waiting: readonly NewApproval[], nowMs: number) => void
  readonly decide: (
    runId: string,
    verdicts: readonly ApprovalVerdict[],
    decision: { readonly by: string; readonly nowMs: number },
  ) => Awaited<ReturnType<RunStore['decide']>>
  readonly ofRun: (runId: string, nowMs: number) => readonly ApprovalRecord[]
  readonly waiting: (limit: number, nowMs: number) => readonly ApprovalRecord[]
  readonly countWaiting: (nowMs: number) => number
}

/** Without an expiry that has come but was not stored yet. */
const STATE_NOW = `iif(state IN ('waiting', 'approved') AND expires_at_ms <= :now, 'expired', state) AS state`
const RECORD = `approval_id AS approvalId, one.run_id AS runId, caller, agent, call_id AS callId, tool, digest,
  schema_digest AS schemaDigest, surface, arguments, ${STATE_NOW}, message, decided_by AS decidedBy,
  asked_at_ms AS askedAtMs, expires_at_ms AS expiresAtMs FROM approvals AS one JOIN runs USING (run_id)`

export const WAITING_APPROVALS = `SELECT ${RECORD} WHERE state = 'waiting' AND expires_at_ms > :now
  ORDER BY expires_at_ms LIMIT :limit`
export const COUNT_WAITING = `SELECT count(*) AS approvals FROM approvals
  WHERE state = 'waiting' AND expires_at_ms > ?`
export const APPROVALS_OF_RUN = `SELECT ${RECORD} WHERE one.run_id = :runId ORDER BY asked_at_ms, one.rowid`

export function createApprovals(db: DatabaseSync, uses: ApprovalUses, operatorLog: OperatorLog): Approvals {
  const open = db.prepare(
    `SELECT approval_id, call_id, tool, digest, schema_digest, surface FROM approvals
     WHERE run_id = ? AND state IN ('waiting', 'approved', 'declined')`,
  )
  // A decline stays on record as one.
  const end = db.prepare(
    `UPDATE approvals SET state = 'ended' WHERE approval_id = ? AND state IN ('waiting', 'approved')`,
  )
  const add = db.prepare(`
    INSERT INTO approvals (
      approval_id, run_id, call_id, tool, digest, schema_digest, surface, arguments, state, asked_at_ms, expires_at_ms
    ) VALUES (
      :approvalId, :runId, :callId, :tool, :digest, :schemaDigest, :surface, :arguments, 'waiting', :now, :expiresAtMs
    )`)
  const states = db.prepare('SELECT approval_id, state FROM approvals WHERE run_id = ?')
  const decideOne = db.prepare(
    `UPDATE approvals SET state = ?, message = ?, decided_by = ? WHERE approval_id = ? AND state = 'waiting'`,
  )
  const ofRun = db.prepare(APPROVALS_OF_RUN)
  const waiting = db.prepare(WAITING_APPROVALS)
  const countWaiting = db.prepare(COUNT_WAITING)

  return {
    replace: (runId, wanted, nowMs) => {
      uses.latchExpired(runId, nowMs)
      const { added, ended } = changesOf(open.all(runId) as unknown as ApprovalBindingRow[], wanted)
      for (const { ttlMs, ...fields } of added)
        add.run({ ...fields, runId, now: nowMs, expiresAtMs: nowMs + ttlMs })
      for (const { approval_id: approvalId } of ended) end.run(approvalId)
    },
    decide: (runId, verdicts, { by, nowMs }) => {
      uses.latchExpired(runId, nowMs)
      const rows = states.all(runId) as unknown as { approval_id: string; state: ApprovalState }[]
      // R4: all are looked at before the first is stored.
      const refused = firstRefused(rows, verdicts)
      if (refused !== undefined) return refused
      for (const { approvalId, approve, message } of verdicts) {
        decideOne.run(approve ? 'approved' : 'declined', message ?? null, by, approvalId)
        const action = approve ? 'approval.approve' : 'approval.decline'
        operatorLog.add({ atMs: nowMs, by, action, subject: approvalId, runId, reason: message })
      }
      return undefined
    },
    ofRun: (runId, now) => ofRun.all({ runId, now }).map(recordOf),
    waiting: (limit, now) => waiting.all({ limit, now }).map(recordOf),
    countWaiting: (now) => Number(countWaiting.get(now)?.['approvals']),
  }
}
