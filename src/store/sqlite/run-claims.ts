import type { DatabaseSync } from 'node:sqlite'

import type { RunRecord, RunStatus } from '../../agents/hosted/run-store.ts'
import { endOfClaim, jsonText, type RunRow } from '../run-rows.ts'
import type { Approvals } from './approvals.ts'
import type { RunRows } from './run-rows.ts'

/** Who is at a run. Everything here belongs into the caller's transaction. */
export interface RunClaims {
  /** The run as it is now: R3 for one whose lease has passed. */
  readonly settled: (runId: string, nowMs: number) => RunRow | undefined
  /** R1. The token of the new claim. */
  readonly take: (row: RunRow, leaseMs: number, nowMs: number) => string
  /** Where a claim goes that ends without a save. */
  readonly giveBack: (
    row: RunRow,
    nowMs: number,
    why?: { readonly denial?: RunRecord['denial'] | undefined; readonly startAtMs?: number | undefined },
  ) => void
  /** Ends a run for good: nothing to go on from, nothing waits. */
  readonly end: (runId: string, status: RunStatus, problem: RunRecord['problem'], nowMs: number) => void
}

export function createRunClaims(db: DatabaseSync, rows: RunRows, approvals: Approvals): RunClaims {
  const take = db.prepare(
    `UPDATE runs SET status = 'running', token = :token, lease_until_ms = :leaseUntilMs, status_before = status,
       changed_at_ms = :now
     WHERE run_id = :runId`,
  )
  const back = db.prepare(
    `UPDATE runs SET status = status_before, token = NULL, lease_until_ms = NULL, status_before = NULL,
       denial = coalesce(:denial, denial), start_at_ms = coalesce(:startAtMs, start_at_ms), changed_at_ms = :now
     WHERE run_id = :runId`,
  )
  const end = db.prepare(
    `UPDATE runs SET status = :status, token = NULL, lease_until_ms = NULL, status_before = NULL, resumable = 0,
       denial = NULL, problem = :problem, cancel_requested = 0, beyond_saved = 0, changed_at_ms = :now
     WHERE run_id = :runId`,
  )
  const forget = db.prepare('UPDATE run_states SET state = NULL WHERE run_id = ?')

  const claims: RunClaims = {
    settled: (runId, now) => {
      const row = rows.read(runId)
      if (row?.status !== 'running' || (row.lease_until_ms ?? 0) > now) return row
      claims.giveBack(row, now)
      return rows.read(runId)
    },
    take: (row, leaseMs, now) => {
      const token = crypto.randomUUID()
      take.run({ token, leaseUntilMs: now + leaseMs, now, runId: row.run_id })
      return token
    },
    giveBack: (row, now, why = {}) => {
      const end = endOfClaim(row, rows.hasState(row.run_id))
      if (end !== 'back') return claims.end(row.run_id, end.status, end.problem, now)
      back.run({ denial: jsonText(why.denial), startAtMs: why.startAtMs ?? null, now, runId: row.run_id })
    },
    end: (runId, status, problem, now) => {
      end.run({ status, problem: jsonText(problem), now, runId })
      forget.run(runId)
      approvals.replace(runId, [], now)
    },
  }
  return claims
}
