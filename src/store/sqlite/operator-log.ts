import type { DatabaseSync } from 'node:sqlite'

import type { OperatorEntry } from '../../agents/hosted/run-store.ts'

export interface OperatorLog {
  /** Within the transaction of what it tells of. */
  readonly add: (entry: Omit<OperatorEntry, 'seq'>) => void
  readonly list: (filter: {
    readonly runId?: string | undefined
    readonly limit: number
  }) => readonly OperatorEntry[]
}

/** Who did what to a run, an approval or an effect. Rows are only ever added. */
export function createOperatorLog(db: DatabaseSync): OperatorLog {
  const columns = 'seq, at_ms AS atMs, actor AS "by", action, subject, run_id AS runId, reason'
  const add = db.prepare(
    'INSERT INTO operator_log (at_ms, actor, action, subject, run_id, reason) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const all = db.prepare(`SELECT ${columns} FROM operator_log ORDER BY seq DESC LIMIT ?`)
  const ofRun = db.prepare(`SELECT ${columns} FROM operator_log WHERE run_id = ? ORDER BY seq DESC LIMIT ?`)
  return {
    add: ({ atMs, by, action, subject, runId, reason }) =>
      void add.run(atMs, by, action, subject, runId ?? null, reason ?? null),
    list: ({ runId, limit }) => {
      const rows = runId === undefined ? all.all(limit) : ofRun.all(runId, limit)
      return rows.map(
        (row) =>
          ({ ...row, runId: row['runId'] ?? undefined, reason: row['reason'] ?? undefined }) as OperatorEntry,
      )
    },
  }
}
