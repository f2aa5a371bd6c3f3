import type { RunRecord, RunStatus } from '../../agents/hosted/run-store.ts'
import { endOfClaim, jsonText, type RunRow } from '../run-rows.ts'
import type { Session } from './session.ts'
import { runRow } from './run-rows.ts'
import * as sql from './run-statements.ts'
import { replaceApprovals } from './tool-approvals.ts'

// Who is at a run. Everything here belongs into a transaction that has locked the run's row.

/** The run as it is now: R3 for one whose lease has passed. */
export async function settleRun(
  session: Session,
  row: RunRow | undefined,
  now: number,
): Promise<RunRow | undefined> {
  if (row?.status !== 'running' || (row.lease_until_ms ?? 0) > now) return row
  await giveBack(session, row, now)
  return runRow(await session.query(sql.READ, [row.run_id]))
}

/** R1. The token of the new claim. */
export async function takeRun(session: Session, row: RunRow, leaseMs: number, now: number): Promise<string> {
  const token = crypto.randomUUID()
  await session.run(sql.TAKE, [token, now + leaseMs, now, row.run_id])
  return token
}

interface Why {
  readonly denial?: RunRecord['denial'] | undefined
  readonly startAtMs?: number | undefined
}

/** Where a claim goes that ends without a save. */
export async function giveBack(session: Session, row: RunRow, now: number, why: Why = {}): Promise<void> {
  const hasState = (await session.query(sql.HAS_STATE, [row.run_id])).length > 0
  const end = endOfClaim(row, hasState)
  if (end !== 'back') return endRun(session, row.run_id, end.status, end.problem, now)
  await session.run(sql.GIVE_BACK, [jsonText(why.denial), why.startAtMs ?? null, now, row.run_id])
}

/** Ends a run for good: nothing to go on from, nothing waits. */
export async function endRun(
  session: Session,
  runId: string,
  status: RunStatus,
  problem: RunRecord['problem'],
  now: number,
): Promise<void> {
  await Promise.all([
    session.run(sql.END, [status, jsonText(problem), now, runId]),
    session.run(sql.FORGET_STATE, [runId]),
    replaceApprovals(session, runId, [], now),
  ])
}
