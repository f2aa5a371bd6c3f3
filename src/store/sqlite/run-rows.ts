import type { DatabaseSync } from 'node:sqlite'

import type { RunFilter, RunRecord, RunStatus } from '../../agents/hosted/run-store.ts'

export interface RunRow {
  readonly run_id: string
  readonly caller: string
  readonly agent: string
  readonly status: RunStatus
  readonly version: number
  readonly request_digest: string
  readonly resumable: number
  readonly denial: string | null
  readonly problem: string | null
  readonly cancel_requested: number
  readonly start_at_ms: number
  readonly created_at_ms: number
  readonly changed_at_ms: number
  readonly lease_until_ms: number | null
  readonly status_before: RunStatus | null
  readonly beyond_saved: number
  readonly context_digest: string | null
  /** Only when read whole. */
  readonly state?: Uint8Array | null
  readonly output?: Uint8Array | null
}

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

const COLUMNS = `runs.run_id, caller, agent, status, version, request_digest, resumable, denial, problem,
  cancel_requested, start_at_ms, created_at_ms, changed_at_ms, lease_until_ms, status_before, beyond_saved,
  context_digest`

export function createRunRows(db: DatabaseSync): RunRows {
  const read = db.prepare(`SELECT ${COLUMNS} FROM runs WHERE run_id = ?`)
  const readWhole = db.prepare(
    `SELECT ${COLUMNS}, state, output FROM runs LEFT JOIN run_states USING (run_id) WHERE runs.run_id = ?`,
  )
  const status = db.prepare('SELECT status FROM runs WHERE run_id = ?')
  const readClaimed = db.prepare(`SELECT ${COLUMNS} FROM runs WHERE token = ?`)
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
  const sql = `SELECT ${COLUMNS} FROM runs ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
    ORDER BY created_at_ms DESC, run_id DESC LIMIT :limit`
  const values = {
    ...Object.fromEntries(equal),
    ...(beforeRunId === undefined ? {} : { beforeRunId }),
    limit,
  }
  return { sql, values }
}

export function recordOf(row: RunRow): RunRecord {
  return {
    runId: row.run_id,
    caller: row.caller,
    agent: row.agent,
    status: row.status,
    version: row.version,
    state: row.state ?? undefined,
    output: row.output ?? undefined,
    requestDigest: row.request_digest,
    contextDigest: row.context_digest ?? undefined,
    resumable: row.resumable === 1,
    denial: jsonOf<RunRecord['denial']>(row.denial),
    problem: jsonOf<RunRecord['problem']>(row.problem),
    cancelRequested: row.cancel_requested === 1,
    startAtMs: row.start_at_ms,
    createdAtMs: row.created_at_ms,
    changedAtMs: row.changed_at_ms,
  }
}

function jsonOf<T>(text: string | null): T | undefined {
  return text === null ? undefined : (JSON.parse(text) as T)
}

export function jsonText(value: object | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value)
}
