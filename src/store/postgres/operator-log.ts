import type { OperatorEntry } from '../../agents/hosted/run-store.ts'
import type { Session } from './session.ts'

const ADD = `INSERT INTO operator_log (at_ms, actor, action, subject, run_id, reason)
  VALUES ($1, $2, $3, $4, $5, $6)`
const COLUMNS = 'seq, at_ms, actor, action, subject, run_id, reason'
const ALL = `SELECT ${COLUMNS} FROM operator_log ORDER BY seq DESC LIMIT $1`
const OF_RUN = `SELECT ${COLUMNS} FROM operator_log WHERE run_id = $2 ORDER BY seq DESC LIMIT $1`

/** Who did what to a run, an approval or an effect. Within the transaction of what it tells of; rows are only added. */
export async function addToOperatorLog(session: Session, entry: Omit<OperatorEntry, 'seq'>): Promise<void> {
  const { atMs, by, action, subject, runId, reason } = entry
  await session.run(ADD, [atMs, by, action, subject, runId ?? null, reason ?? null])
}

/** Newest first. */
export async function readOperatorLog(
  session: Session,
  { runId, limit }: { readonly runId?: string | undefined; readonly limit: number },
): Promise<readonly OperatorEntry[]> {
  const rows = await (runId === undefined
    ? session.query(ALL, [limit])
    : session.query(OF_RUN, [limit, runId]))
  return rows.map((row) => ({
    seq: Number(row['seq']),
    atMs: Number(row['at_ms']),
    by: String(row['actor']),
    action: row['action'] as OperatorEntry['action'],
    subject: String(row['subject']),
    runId: (row['run_id'] as string | null) ?? undefined,
    reason: (row['reason'] as string | null) ?? undefined,
  }))
}
