import type { ApprovalProblem, ApprovalUse } from '../../guard/journal.ts'
import { useForIntentOf, useOf, type ApprovalUseRow, type IntentUse } from '../approval-rows.ts'
import type { Session } from './session.ts'

const LATCH = `UPDATE approvals SET state = 'expired'
  WHERE state IN ('waiting', 'approved') AND expires_at_ms <= $1 AND`
const LATCH_ONE = `${LATCH} approval_id = $2`
const LATCH_RUN = `${LATCH} run_id = $2`
/** The run itself is not locked: its caller never changes. */
const READ = `SELECT one.run_id, one.call_id, runs.caller, one.state, one.use_token, one.expires_at_ms
  FROM approvals AS one JOIN runs USING (run_id) WHERE one.approval_id = $1 FOR UPDATE OF one`
const USE =
  "UPDATE approvals SET state = 'used', use_token = $1 WHERE approval_id = $2 AND state = 'approved'"

// Everything here belongs into the caller's transaction: an approval is used up together with what it lets begin.

/** Final, also when the clock is set back: what has expired once never counts again. */
export async function latchExpired(session: Session, runId: string, nowMs: number): Promise<void> {
  await session.run(LATCH_RUN, [nowMs, runId])
}

/** Uses the approval up for this intent, or says why it does not cover it. */
export async function useForIntent(
  session: Session,
  approval: ApprovalUse,
  what: IntentUse,
): Promise<ApprovalProblem | undefined> {
  const row = await touch(session, approval, what.nowMs)
  return take(session, useForIntentOf(row, approval, what), approval)
}

/** Uses it up for a call without effects. */
export async function useForCall(
  session: Session,
  approval: ApprovalUse,
  nowMs: number,
): Promise<ApprovalProblem | undefined> {
  return take(session, useOf(await touch(session, approval, nowMs), approval), approval)
}

async function touch(
  session: Session,
  { approvalId }: ApprovalUse,
  nowMs: number,
): Promise<ApprovalUseRow | undefined> {
  const [, rows] = await Promise.all([
    session.run(LATCH_ONE, [nowMs, approvalId]),
    session.query(READ, [approvalId]),
  ])
  return rows[0] as unknown as ApprovalUseRow | undefined
}

async function take(
  session: Session,
  found: ReturnType<typeof useOf>,
  { approvalId, useToken }: ApprovalUse,
): Promise<ApprovalProblem | undefined> {
  if (found !== 'use') return found
  await session.run(USE, [useToken, approvalId])
  return undefined
}
