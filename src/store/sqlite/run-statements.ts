import type { DatabaseSync } from 'node:sqlite'

export const NEXT_QUEUED = `SELECT run_id FROM runs INDEXED BY runs_queue WHERE status = 'queued' AND start_at_ms <= :now
  ORDER BY start_at_ms, created_at_ms, run_id LIMIT 1`
export const LOST_RUNS = `SELECT run_id FROM runs INDEXED BY runs_leases WHERE status = 'running' AND lease_until_ms <= :now`
export const COUNT_RUNS = `SELECT status, count(*) AS runs FROM runs
  WHERE status IN ('queued', 'running', 'interrupted') GROUP BY status`

export function prepareRuns(db: DatabaseSync) {
  return {
    create: db.prepare(`
      INSERT INTO runs (
        run_id, caller, agent, status, version, request_digest, context_digest, resumable, cancel_requested,
        start_at_ms, created_at_ms, changed_at_ms, token, lease_until_ms
      ) VALUES (
        :runId, :caller, :agent, :status, 0, :requestDigest, :contextDigest, 0, 0,
        :startAtMs, :now, :now, :token, :leaseUntilMs
      )`),
    writeState: db.prepare(`
      INSERT INTO run_states (run_id, state, output) VALUES (?, ?, ?)
      ON CONFLICT (run_id) DO UPDATE SET (state, output) = (excluded.state, excluded.output)`),
    forgetState: db.prepare('UPDATE run_states SET state = NULL WHERE run_id = ?'),
    save: db.prepare(`
      UPDATE runs SET status = :status, version = version + 1, resumable = :resumable, denial = :denial,
        problem = :problem, cancel_requested = 0, token = NULL, lease_until_ms = NULL, status_before = NULL,
        beyond_saved = 0, context_digest = coalesce(:contextDigest, context_digest), changed_at_ms = :now
      WHERE run_id = :runId`),
    markBeyond: db.prepare('UPDATE runs SET beyond_saved = 1 WHERE token = ?'),
    renew: db.prepare('UPDATE runs SET lease_until_ms = ? WHERE token = ?'),
    requestCancel: db.prepare('UPDATE runs SET cancel_requested = 1, changed_at_ms = ? WHERE run_id = ?'),
    nextQueued: db.prepare(NEXT_QUEUED),
    lost: db.prepare(LOST_RUNS),
    counts: db.prepare(COUNT_RUNS),
  }
}
