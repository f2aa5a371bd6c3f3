import type { DatabaseSync } from 'node:sqlite'

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
