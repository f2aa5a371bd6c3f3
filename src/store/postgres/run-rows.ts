import type { RunFilter, RunRecord } from '../../agents/hosted/run-store.ts'
import type { Row, Value } from '../control-plane-rows.ts'
import { recordOf, RUN_COLUMNS, type RunRow } from '../run-rows.ts'

export function runRow(rows: readonly Row[]): RunRow | undefined {
  return rows[0] as unknown as RunRow | undefined
}

/** The driver gives a view into what it received, and of a class of its own. */
export function wholeRecord(row: Row): RunRecord {
  const whole = row as unknown as RunRow
  return recordOf({ ...whole, state: copied(whole.state), output: copied(whole.output) })
}

function copied(bytes: Uint8Array | null | undefined): Uint8Array | null {
  return bytes == null ? null : new Uint8Array(bytes)
}

export function listQuery({ caller, status, agent, beforeRunId, limit }: RunFilter): {
  readonly text: string
  readonly values: readonly Value[]
} {
  const values: Value[] = []
  const given = (value: Value) => `$${values.push(value)}`
  const where = Object.entries({ caller, status, agent })
    .filter(([, value]) => value !== undefined)
    .map(([column, value]) => `${column} = ${given(value as string)}`)
  if (beforeRunId !== undefined) {
    // Of runs of others nobody learns in this way when they were created.
    const ofCaller = caller === undefined ? '' : ` AND caller = ${given(caller)}`
    const before = `SELECT created_at_ms, run_id FROM runs WHERE run_id = ${given(beforeRunId)}${ofCaller}`
    where.push(`(created_at_ms, run_id) < (${before})`)
  }
  const text = `SELECT ${RUN_COLUMNS} FROM runs ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
    ORDER BY created_at_ms DESC, run_id DESC LIMIT ${given(limit)}`
  return { text, values }
}
