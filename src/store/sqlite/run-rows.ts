import type { DatabaseSync } from 'node:sqlite'

import type { RunFilter, RunRecord, RunStatus } from '../../agents/hosted/run-store.ts'
import { recordOf, RUN_COLUMNS, type RunRow } from '../run-rows.ts'

export interface RunRows {
  readonly read: (runId: string) => RunRow | undefined
  /** With the state and the output, which can be large. */
  readonly readWhole: (runId: string) => RunRow | undefined
  readonly statusOf: (runId: string) => RunStatus | undefined
  readonly readClaimed: (token: string) => RunRow | undefined
  readonly hasState: (runId: string) => boolean
  /** One list per set of filters, each along an index. */
  readonly list: (filter: RunFilter) => RunRecord[]
}

export function createRunRows(db: DatabaseSync): RunRows {
  const read = db.prepare(`SELECT ${RUN_COLUMNS} FROM runs WHERE run_id = ?`)
  const readWhole = db.prepare(
    `SELECT ${RUN_COLUMNS}, state, output FROM runs LEFT JOIN run_states USING (run_id) WHERE runs.run_id = ?`,
  )
  const status = db.prepare('SELECT status FROM runs WHERE run_id = ?')
  const readClaimed = db.prepare(`SELECT ${RUN_COLUMNS} FROM runs WHERE token = ?`)
  const hasState = db.prepare('SELECT 1 FROM run_states WHERE run_id = ? AND state IS NOT NULL')
  return {
    read: (runId) => read.get(runId) as unknown as RunRow | undefined,
    readWhole: (runId) => readWhole.get(runId) as unknown as RunRow | undefined,
    statusOf: (runId) => status.get(runId)?.['status'] as RunStatus | undefined,
    readClaimed: (token) => readClaimed.get(token) as unknown as RunRow | undefined,
    hasState: (runId) => hasState.get(runId) !== undefined,
    list: (filter) => {
      const { sql, values } = listQuery(filter)
      return (db.prepare(sql).all(values) as unknown as RunRow[]).map(recordOf)
    },
  }
}

export function listQuery({ caller, status, agent, beforeRunId, limit }: RunFilter) {
  const equal = Object.entries({ caller, status, agent }).filter(([, value]) => value !== undefined)
  // Of runs of others nobody learns in this way when they were created.
  const ofCaller = caller === undefined ? '' : ' AND caller = :caller'
  const before = `(created_at_ms, run_id) < (SELECT created_at_ms, run_id FROM runs WHERE run_id = :beforeRunId${ofCaller})`
  const where = [
    ...equal.map(([column]) => `${column} = :${column}`),
    ...(beforeRunId === undefined ? [] : [before]),
  ]
  const sql = `SELECT ${RUN_COLUMNS} FROM runs ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
    ORDER BY created_at_ms DESC, run_id DESC LIMIT :limit`
  const values = {
    ...Object.fromEntries(equal),
    ...(beforeRunId === undefined ? {} : { beforeRunId }),
    limit,
  }
  return { sql, values }
}
