import type { DatabaseSync } from 'node:sqlite'

import type { ApprovalState } from '../../agents/hosted/run-store.ts'
import type { ApprovalProblem, ApprovalUse, EffectState, Intent } from '../../guard/journal.ts'

/** What the journal has on the key of an intent that is about to begin. */
export interface EarlierAttempt {
  readonly state: EffectState
  readonly approval_id: string | null
}

/** Everything here belongs into the caller's transaction: an approval is used up together with what it lets begin. */
export interface ApprovalUses {
  /** Final, also when the clock is set back: what has expired once never counts again. */
  readonly latchExpired: (runId: string, nowMs: number) => void
  /** Uses the approval up for this intent, or says why it does not cover it. */
  readonly useForIntent: (
    use: ApprovalUse,
    intent: Intent,
    earlier: EarlierAttempt | undefined,
    nowMs: number,
  ) => ApprovalProblem | undefined
  /** Uses it up for a call without effects. */
  readonly useForCall: (use: ApprovalUse, nowMs: number) => ApprovalProblem | undefined
}

interface Row {
  readonly run_id: string
  readonly call_id: string
  readonly caller: string
  readonly state: ApprovalState
  readonly use_token: string | null
  readonly expires_at_ms: number
}

export function createApprovalUses(db: DatabaseSync): ApprovalUses {
  const latch = `UPDATE approvals SET state = 'expired'
    WHERE state IN ('waiting', 'approved') AND expires_at_ms <= ? AND`
  const latchOne = db.prepare(`${latch} approval_id = ?`)
  const latchRun = db.prepare(`${latch} run_id = ?`)
  const read = db.prepare(`
    SELECT one.run_id, one.call_id, runs.caller, one.state, one.use_token, one.expires_at_ms
    FROM approvals AS one JOIN runs USING (run_id) WHERE one.approval_id = ?`)
  const use = db.prepare(
    `UPDATE approvals SET state = 'used', use_token = ? WHERE approval_id = ? AND state = 'approved'`,
  )

  const touch = ({ approvalId }: ApprovalUse, nowMs: number): Row | undefined => {
    latchOne.run(nowMs, approvalId)
    return read.get(approvalId) as unknown as Row | undefined
  }
  /** A single use: undefined for whoever comes first, and again for the same execution of the call. */
  const useOnce = (row: Row, { approvalId, useToken }: ApprovalUse): ApprovalProblem | undefined => {
    if (row.state === 'used') return row.use_token === useToken ? undefined : 'used'
    if (row.state === 'expired') return 'expired'
    return use.run(useToken, approvalId).changes === 1 ? undefined : 'missing'
  }

  return {
    latchExpired: (runId, nowMs) => void latchRun.run(nowMs, runId),
    useForIntent: (approval, intent, earlier, nowMs) => {
      const row = touch(approval, nowMs)
      if (row === undefined || !isFor(row, intent)) return 'missing'
      const problem = useOnce(row, approval)
      if (problem !== 'used' || !mayGoOn(earlier, approval)) return problem
      // The process that used it died: what of the call never began, or ended nobody knows how, may go on. Not for ever:
      // nobody who approves it today means a payment of next week.
      return row.expires_at_ms <= nowMs ? 'expired' : undefined
    },
    useForCall: (approval, nowMs) => {
      const row = touch(approval, nowMs)
      return row === undefined ? 'missing' : useOnce(row, approval)
    },
  }
}

function isFor(row: Row, { caller, runId, callId }: Intent): boolean {
  return row.caller === caller && row.run_id === runId && row.call_id === callId
}

function mayGoOn(earlier: EarlierAttempt | undefined, { approvalId }: ApprovalUse): boolean {
  return earlier === undefined || (earlier.state === 'unknown' && earlier.approval_id === approvalId)
}
