import type { DatabaseSync } from 'node:sqlite'

import type { StepRecord } from '../../agents/hosted/run-store.ts'

/** The timeline of each run. `add` belongs into the caller's transaction. */
export interface RunSteps {
  readonly add: (runId: string, steps: readonly Omit<StepRecord, 'seq'>[]) => void
  readonly of: (runId: string) => readonly StepRecord[]
}

export function createRunSteps(db: DatabaseSync): RunSteps {
  const add = db.prepare(`
    INSERT INTO run_steps (run_id, seq, at_ms, type, detail)
    SELECT :runId, coalesce(max(seq), 0) + 1, :atMs, :type, :detail FROM run_steps WHERE run_id = :runId`)
  const of = db.prepare('SELECT seq, at_ms, type, detail FROM run_steps WHERE run_id = ? ORDER BY seq')
  return {
    add: (runId, steps) => {
      for (const { atMs, type, detail } of steps)
        add.run({ runId, atMs, type, detail: JSON.stringify(detail) })
    },
    of: (runId) =>
      of.all(runId).map((row) => ({
        seq: Number(row['seq']),
        atMs: Number(row['at_ms']),
        type: String(row['type']),
        detail: JSON.parse(String(row['detail'])) as StepRecord['detail'],
      })),
  }
}
