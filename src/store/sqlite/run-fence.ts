import type { DatabaseSync } from 'node:sqlite'

import type { RunFence } from '../../guard/journal.ts'

/** Whether a claim still has its run. Belongs into the transaction of what the claim is needed for. */
export function createRunFence(db: DatabaseSync): (fence: RunFence, nowMs: number) => boolean {
  const read = db.prepare(
    'SELECT 1 FROM runs WHERE token = ? AND run_id = ? AND cancel_requested = 0 AND lease_until_ms > ?',
  )
  return ({ token, runId }, nowMs) => read.get(token, runId, nowMs) !== undefined
}
