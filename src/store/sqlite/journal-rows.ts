import type { DatabaseSync } from 'node:sqlite'

import type { Begun, EffectState, Intent, JournalEntry, Outcome } from '../../guard/journal.ts'

export interface JournalRow {
  readonly key: string
  readonly effect: string
  readonly kind: string
  readonly tool: string
  readonly caller: string
  readonly run_id: string | null
  readonly call_id: string
  readonly input_digest: string
  readonly input: string | null
  readonly result: string | null
  readonly state: EffectState
  readonly approval_id: string | null
  readonly first_attempt_at_ms: number
  readonly changed_at_ms: number
  readonly lease_until_ms: number
  readonly deadline_ms: number
  readonly transactional: number
  /** 1 when an operator said how it ended. */
  readonly resolved: number
}

export type JournalStatements = ReturnType<typeof prepareJournal>

export function prepareJournal(db: DatabaseSync) {
  const passed = 'lease_until_ms <= :now AND deadline_at_ms <= :now'
  const unknown = `state IN ('intent', 'unknown') AND (state = 'unknown' OR (${passed}))`
  const end = `UPDATE effect_journal
    SET state = :state, result = :result, changed_at_ms = :now, lease_until_ms = :leaseUntilMs, resolved = :resolved
    WHERE`
  return {
    expireKey: db.prepare(
      `UPDATE effect_journal SET state = 'unknown', changed_at_ms = :now
       WHERE state = 'intent' AND key = :key AND ${passed}`,
    ),
    read: db.prepare('SELECT * FROM effect_journal WHERE key = ?'),
    write: db.prepare(`
      INSERT INTO effect_journal (
        key, effect, kind, tool, caller, run_id, call_id, input_digest, input, result, state, token, approval_id,
        first_attempt_at_ms, changed_at_ms, lease_until_ms, deadline_at_ms, deadline_ms,
        transactional
      ) VALUES (
        :key, :effect, :kind, :tool, :caller, :runId, :callId, :digest, :input, NULL, 'intent', :token, :approvalId,
        :firstAttemptAtMs, :now, :leaseUntilMs, :deadlineAtMs, :deadlineMs, :transactional
      )
      ON CONFLICT (key) DO UPDATE SET
        (effect, kind, tool, caller, run_id, call_id, input_digest, input, result, state, token, approval_id,
         first_attempt_at_ms, changed_at_ms, lease_until_ms, deadline_at_ms, deadline_ms, transactional, resolved) =
        (excluded.effect, excluded.kind, excluded.tool, excluded.caller, excluded.run_id, excluded.call_id,
         excluded.input_digest, excluded.input, NULL, 'intent', excluded.token, excluded.approval_id,
         excluded.first_attempt_at_ms, excluded.changed_at_ms, excluded.lease_until_ms, excluded.deadline_at_ms,
         excluded.deadline_ms, excluded.transactional, 0)`),
    renew: db.prepare(
      `UPDATE effect_journal SET lease_until_ms = :leaseUntilMs
       WHERE token = :token AND (state = 'intent' OR (state = 'unknown' AND lease_until_ms > :now))`,
    ),
    own: db.prepare('SELECT * FROM effect_journal WHERE token = ?'),
    setTransactional: db.prepare('UPDATE effect_journal SET transactional = ? WHERE token = ?'),
    settle: db.prepare(`${end} token = :token`),
    resolve: db.prepare(`${end} key = :key AND state = 'unknown' AND lease_until_ms <= :now`),
    listUnknown: db.prepare(
      `SELECT *, 'unknown' AS state,
         iif(state = 'intent', max(lease_until_ms, deadline_at_ms), changed_at_ms) AS changed_at_ms
       FROM effect_journal WHERE ${unknown} ORDER BY first_attempt_at_ms, rowid`,
    ),
    countUnknown: db.prepare(`SELECT count(*) AS count FROM effect_journal WHERE ${unknown}`),
    listRun: db.prepare(
      `SELECT *, iif(state = 'intent' AND ${passed}, 'unknown', state) AS state
       FROM effect_journal WHERE caller = :caller AND run_id = :runId ORDER BY first_attempt_at_ms, rowid`,
    ),
  }
}

/** What keeps `intent` from beginning, if anything. */
export function inTheWay(
  row: JournalRow,
  intent: Intent,
  retakeUnknown: boolean,
  now: number,
): Begun | undefined {
  if (row.state === 'failed' || row.state === 'denied') return undefined
  if (row.input_digest !== intent.inputDigest) return { state: 'conflict' }
  if (row.state === 'done') return { state: 'done', result: row.result ?? undefined }
  if (row.state === 'intent' || row.lease_until_ms > now) return { state: 'running' }
  if (retakeUnknown) return undefined
  const sinceFirstAttemptMs = now - row.first_attempt_at_ms
  return { state: 'unknown', sinceFirstAttemptMs, ...(row.transactional === 1 ? { notPerformed: true } : {}) }
}

/** E3: whether its own attempt may still say how it ended. */
export function maySettle({ state, resolved }: JournalRow, outcome: Outcome): boolean | 'overruled' {
  if (state === 'failed' && resolved === 1 && outcome.state === 'done') return 'overruled'
  return state === 'intent' || state === 'unknown'
}

/** What an outcome changes of a row. */
export function endOf(outcome: Outcome, now: number) {
  const result = outcome.state === 'done' ? (outcome.result ?? null) : null
  // None at all, so that a clock that is set back revives nothing.
  const leaseUntilMs =
    outcome.state === 'unknown' && outcome.leaseMs !== undefined ? now + outcome.leaseMs : 0
  return { state: outcome.state, result, now, leaseUntilMs, resolved: 0 }
}

export function entryOf(row: JournalRow, now: number): JournalEntry {
  return {
    key: row.key,
    effect: row.effect,
    kind: row.kind,
    tool: row.tool,
    caller: row.caller,
    runId: row.run_id ?? undefined,
    callId: row.call_id,
    inputDigest: row.input_digest,
    input: row.input ?? undefined,
    deadlineMs: row.deadline_ms,
    ...(row.transactional === 1 ? { transactional: true } : {}),
    state: row.state,
    result: row.result ?? undefined,
    changedAtMs: row.changed_at_ms,
    sinceFirstAttemptMs: now - row.first_attempt_at_ms,
  }
}
