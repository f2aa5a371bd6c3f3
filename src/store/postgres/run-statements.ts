import { RUN_COLUMNS } from '../run-rows.ts'

export const READ = `SELECT ${RUN_COLUMNS} FROM runs WHERE run_id = $1 FOR UPDATE`
export const READ_CLAIMED = `SELECT ${RUN_COLUMNS} FROM runs WHERE token = $1 FOR UPDATE`
export const READ_WHOLE = `SELECT ${RUN_COLUMNS}, state, output FROM runs LEFT JOIN run_states USING (run_id)
  WHERE runs.run_id = $1`
export const STATUS = 'SELECT status FROM runs WHERE run_id = $1'
export const HAS_STATE = 'SELECT 1 AS state FROM run_states WHERE run_id = $1 AND state IS NOT NULL'
export const CREATE = `INSERT INTO runs (
    run_id, caller, agent, request_digest, context_digest, status, token, lease_until_ms, start_at_ms,
    created_at_ms, changed_at_ms, version, resumable, cancel_requested
  ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, 0, 0, 0)
  ON CONFLICT (run_id) DO NOTHING`
export const WRITE_STATE = `INSERT INTO run_states (run_id, state, output) VALUES ($1, $2, $3)
  ON CONFLICT (run_id) DO UPDATE SET (state, output) = (excluded.state, excluded.output)`
export const FORGET_STATE = 'UPDATE run_states SET state = NULL WHERE run_id = $1'
export const SAVE = `UPDATE runs SET status = $1, version = version + 1, resumable = $2, denial = $3, problem = $4,
    cancel_requested = 0, token = NULL, lease_until_ms = NULL, status_before = NULL, beyond_saved = 0,
    context_digest = coalesce($5, context_digest), changed_at_ms = $6
  WHERE run_id = $7`
export const TAKE = `UPDATE runs
  SET status = 'running', token = $1, lease_until_ms = $2, status_before = status, changed_at_ms = $3
  WHERE run_id = $4`
export const GIVE_BACK = `UPDATE runs SET status = status_before, token = NULL, lease_until_ms = NULL,
    status_before = NULL, denial = coalesce($1, denial), start_at_ms = coalesce($2, start_at_ms), changed_at_ms = $3
  WHERE run_id = $4`
export const END = `UPDATE runs SET status = $1, token = NULL, lease_until_ms = NULL, status_before = NULL,
    resumable = 0, denial = NULL, problem = $2, cancel_requested = 0, beyond_saved = 0, changed_at_ms = $3
  WHERE run_id = $4`
export const MARK_BEYOND = 'UPDATE runs SET beyond_saved = 1 WHERE token = $1'
export const RENEW = 'UPDATE runs SET lease_until_ms = $1 WHERE token = $2'
export const REQUEST_CANCEL = 'UPDATE runs SET cancel_requested = 1, changed_at_ms = $1 WHERE run_id = $2'
/** R1: what another replica is about to take is passed over. */
const QUEUED =
  "FROM runs WHERE status = 'queued' AND start_at_ms <= $1 ORDER BY start_at_ms, created_at_ms, run_id"
export const ANY_QUEUED = `SELECT run_id ${QUEUED} LIMIT 1`
export const NEXT_QUEUED = `SELECT ${RUN_COLUMNS} ${QUEUED} LIMIT 1 FOR UPDATE SKIP LOCKED`
const LOST = "FROM runs WHERE status = 'running' AND lease_until_ms <= $1"
export const ANY_LOST = `SELECT run_id ${LOST} LIMIT 1`
export const LOST_RUNS = `SELECT ${RUN_COLUMNS} ${LOST} ORDER BY run_id FOR UPDATE SKIP LOCKED`
export const COUNTS = `SELECT status, count(*) AS runs FROM runs
  WHERE status IN ('queued', 'running', 'interrupted') GROUP BY status`
export const LOCK = 'SELECT 1 AS locked FROM runs WHERE run_id = $1 FOR NO KEY UPDATE'
export const ADD_STEP = `INSERT INTO run_steps (run_id, seq, at_ms, type, detail)
  SELECT $1, coalesce(max(seq), 0) + 1, $2, $3, $4 FROM run_steps WHERE run_id = $1`
export const STEPS = 'SELECT seq, at_ms, type, detail FROM run_steps WHERE run_id = $1 ORDER BY seq'
