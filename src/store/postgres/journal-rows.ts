import type { BeginOptions, Intent } from '../../guard/journal.ts'
import type { Row, Value } from '../control-plane-rows.ts'
import type { JournalRow } from '../journal-rows.ts'

const COLUMNS = `key, effect, kind, tool, caller, run_id, call_id, input_digest, input, result, state, approval_id,
  first_attempt_at_ms, changed_at_ms, lease_until_ms, deadline_at_ms, deadline_ms, transactional, resolved`

/** As in SQLite, and when its deadline passes. */
export interface StoredRow extends JournalRow {
  readonly deadline_at_ms: number
}

/** For everybody who begins at one key, whether it has a row or not. */
export const LOCK_KEY = 'SELECT pg_advisory_xact_lock(hashtextextended($1, 4100423))'
/** Nothing where somebody settles it just now, or writes in a transaction of its effect. */
export const READ_FREE = `SELECT ${COLUMNS} FROM effect_journal WHERE key = $1 FOR UPDATE SKIP LOCKED`
export const READ = `SELECT ${COLUMNS} FROM effect_journal WHERE key = $1`
export const READ_LOCKED = `${READ} FOR UPDATE`
/** Waits for a transaction of its effect to end, so that what is read is how it ended. */
export const OWN = `SELECT ${COLUMNS} FROM effect_journal WHERE token = $1 FOR UPDATE`
export const EXPIRE = "UPDATE effect_journal SET state = 'unknown', changed_at_ms = $1 WHERE key = $2"
export const WRITE = `
  INSERT INTO effect_journal (
    key, effect, kind, tool, caller, run_id, call_id, input_digest, input, result, state, token, approval_id,
    first_attempt_at_ms, changed_at_ms, lease_until_ms, deadline_at_ms, deadline_ms, transactional
  ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, 'intent', $10, $11, $12, $13, $14, $15, $16, $17)
  ON CONFLICT (key) DO UPDATE SET
    (effect, kind, tool, caller, run_id, call_id, input_digest, input, result, state, token, approval_id,
     first_attempt_at_ms, changed_at_ms, lease_until_ms, deadline_at_ms, deadline_ms, transactional, resolved) =
    (excluded.effect, excluded.kind, excluded.tool, excluded.caller, excluded.run_id, excluded.call_id,
     excluded.input_digest, excluded.input, NULL, 'intent', excluded.token, excluded.approval_id,
     excluded.first_attempt_at_ms, excluded.changed_at_ms, excluded.lease_until_ms, excluded.deadline_at_ms,
     excluded.deadline_ms, excluded.transactional, 0)`
export const DELETE = 'DELETE FROM effect_journal WHERE token = $1'
export const RENEW = 'UPDATE effect_journal SET lease_until_ms = $1 WHERE token = $2'
export const SETTLE = `UPDATE effect_journal
  SET state = $1, result = $2, changed_at_ms = $3, lease_until_ms = $4, resolved = $5 WHERE key = $6`
/** E4: our own row, locked until the transaction ends; what it says of its certainty is undone by a rollback. */
export const MARK =
  "UPDATE holdpoint_tools.effect_journal SET transactional = 0 WHERE token = $1 AND state = 'intent'"
/** With its schema, since the effect may have set another one. */
export const SETTLE_OWN = `UPDATE holdpoint_tools.effect_journal
  SET state = 'done', result = $1, changed_at_ms = $2, lease_until_ms = 0 WHERE token = $3 AND state = 'intent'`
/** A claim that holds, until this transaction ends. */
export const HOLDS_RUN = `SELECT 1 AS held FROM runs
  WHERE token = $1 AND run_id = $2 AND cancel_requested = 0 AND lease_until_ms > $3 FOR SHARE`

const PASSED = 'lease_until_ms <= $1 AND deadline_at_ms <= $1'
const UNKNOWN = `state IN ('intent', 'unknown') AND (state = 'unknown' OR (${PASSED}))`
const SHOWN = COLUMNS.replace('state, ', '').replace('changed_at_ms, ', '')
export const LIST_UNKNOWN = `SELECT ${SHOWN}, 'unknown' AS state,
    CASE WHEN state = 'intent' THEN greatest(lease_until_ms, deadline_at_ms) ELSE changed_at_ms END AS changed_at_ms
  FROM effect_journal WHERE ${UNKNOWN} ORDER BY first_attempt_at_ms, seq`
export const COUNT_UNKNOWN = `SELECT count(*) AS count FROM effect_journal WHERE ${UNKNOWN}`
export const LIST_RUN = `SELECT ${SHOWN}, changed_at_ms,
    CASE WHEN state = 'intent' AND ${PASSED} THEN 'unknown' ELSE state END AS state
  FROM effect_journal WHERE caller = $2 AND run_id = $3 ORDER BY first_attempt_at_ms, seq`

export function journalRow(rows: readonly Row[]): StoredRow | undefined {
  return rows[0] as unknown as StoredRow | undefined
}

/** Its owner gave no sign of life in time: it is unknown, whether that was stored or not. */
export function hasExpired(row: StoredRow, now: number): boolean {
  return row.state === 'intent' && row.lease_until_ms <= now && row.deadline_at_ms <= now
}

/** Of `WRITE`. `unknown`: what it takes over. */
export function valuesOf(
  intent: Intent,
  { unknown, now, token }: { unknown: StoredRow | undefined; now: number; token: string },
  { leaseMs, approval }: BeginOptions,
): Value[] {
  const deadlineMs = Math.ceil(intent.deadlineMs)
  const { key, effect, kind, tool, caller, runId, callId, inputDigest, input } = intent
  // Whoever takes an unknown outcome over to ask about it leaves it to the approval that it began under.
  const approvalId = approval?.approvalId ?? unknown?.approval_id ?? null
  const firstAttemptAtMs = unknown?.first_attempt_at_ms ?? now
  // What an earlier attempt lost of its certainty, a retake does not give back (E4).
  const transactional = Number(intent.transactional === true && unknown?.transactional !== 0)
  const what = [key, effect, kind, tool, caller, runId ?? null, callId, inputDigest, input ?? null]
  const times = [firstAttemptAtMs, now, now + leaseMs, now + deadlineMs, deadlineMs]
  return [...what, token, approvalId, ...times, transactional]
}
