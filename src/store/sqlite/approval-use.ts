import type { DatabaseSync } from 'node:sqlite'

import type { ApprovalProblem, ApprovalUse, Intent } from '../../guard/journal.ts'
import { useForIntentOf, useOf, type ApprovalUseRow as Row, type EarlierAttempt } from '../approval-rows.ts'

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
  const take = (found: ReturnType<typeof useOf>, { approvalId, useToken }: ApprovalUse) => {
    if (found !== 'use') return found
    use.run(useToken, approvalId)
    return undefined
  }

  return {
    latchExpired: (runId, nowMs) => void latchRun.run(nowMs, runId),
    useForIntent: (approval, intent, earlier, nowMs) =>
      take(useForIntentOf(touch(approval, nowMs), approval, { intent, earlier, nowMs }), approval),
    useForCall: (approval, nowMs) => take(useOf(touch(approval, nowMs), approval), approval),
  }
}
