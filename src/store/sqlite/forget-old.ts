import type { DatabaseSync } from 'node:sqlite'

/** A run that can still go on, or with an effect of which nobody knows the outcome, is needed. */
const OLD_RUNS = `SELECT run_id FROM runs
  WHERE changed_at_ms <= ?1 AND token IS NULL
    AND (status IN ('completed', 'cancelled') OR (status IN ('denied', 'failed') AND resumable = 0))
    AND NOT EXISTS (
      SELECT 1 FROM effect_journal AS effect
      WHERE effect.caller = runs.caller AND effect.run_id = runs.run_id AND effect.state IN ('intent', 'unknown')
    )`

/**
 * Forgets the inputs of old effects, and old runs that have ended. Of effects keys, outcomes and results stay, so that
 * none is ever repeated; so does what operators did. Belongs into a transaction.
 */
export function forgetOld(db: DatabaseSync, beforeMs: number): void {
  db.prepare('UPDATE effect_journal SET input = NULL WHERE input IS NOT NULL AND changed_at_ms <= ?').run(
    beforeMs,
  )
  for (const table of ['run_steps', 'approvals', 'run_states', 'runs'])
    db.prepare(`DELETE FROM ${table} WHERE run_id IN (${OLD_RUNS})`).run(beforeMs)
}
