import type { Session } from './session.ts'
import type { ToolDatabase } from './tool-database.ts'

/** A run that can still go on, or with an effect of which nobody knows the outcome, is needed. */
const LOCK_OLD_RUNS = `SELECT run_id FROM runs
  WHERE changed_at_ms <= $1 AND token IS NULL
    AND (status IN ('completed', 'cancelled') OR (status IN ('denied', 'failed') AND resumable = 0))
    AND NOT EXISTS (
      SELECT 1 FROM effect_journal AS effect
      WHERE effect.caller = runs.caller AND effect.run_id = runs.run_id AND effect.state IN ('intent', 'unknown')
    )
  ORDER BY changed_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED`
const TABLES = ['run_steps', 'approvals', 'run_states', 'runs']
const FORGET_INPUTS = `UPDATE effect_journal SET input = NULL WHERE key IN (
    SELECT key FROM effect_journal WHERE input IS NOT NULL AND changed_at_ms <= $1
    ORDER BY changed_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED
  )`
/** In one transaction, so that none takes long or keeps others waiting. */
const AT_ONCE = 500

/**
 * Forgets the inputs of old effects, and old runs that have ended. Of effects keys, outcomes and results stay, so that
 * none is ever repeated; so does what operators did. Replicas that start together share the work.
 */
export async function forgetOld(
  { transact, readNow }: Pick<ToolDatabase, 'transact' | 'readNow'>,
  retentionMs: number,
): Promise<void> {
  for (const forget of [forgetInputs, forgetRuns]) {
    const some = async (session: Session) => forget(session, (await readNow(session)) - retentionMs)
    while ((await transact(some)) === AT_ONCE) continue
  }
}

async function forgetInputs(session: Session, beforeMs: number): Promise<number> {
  return session.run(FORGET_INPUTS, [beforeMs, AT_ONCE])
}

async function forgetRuns(session: Session, beforeMs: number): Promise<number> {
  const rows = await session.query(LOCK_OLD_RUNS, [beforeMs, AT_ONCE])
  const runIds = JSON.stringify(rows.map((row) => row['run_id']))
  const all = '(SELECT value FROM json_array_elements_text($1::json))'
  for (const table of TABLES) await session.run(`DELETE FROM ${table} WHERE run_id IN ${all}`, [runIds])
  return rows.length
}
