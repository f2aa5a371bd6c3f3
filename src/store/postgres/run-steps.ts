import type { StepRecord } from '../../agents/hosted/run-store.ts'
import type { Session } from './session.ts'
import { ADD_STEP, LOCK, STEPS } from './run-statements.ts'

/** To the timeline of a run, whose row orders those who add to it. Belongs into a transaction. */
export async function addSteps(
  session: Session,
  runId: string,
  steps: readonly Omit<StepRecord, 'seq'>[],
): Promise<void> {
  await Promise.all([
    session.query(LOCK, [runId]),
    ...steps.map(({ atMs, type, detail }) =>
      session.run(ADD_STEP, [runId, atMs, type, JSON.stringify(detail)]),
    ),
  ])
}

export async function readSteps(session: Session, runId: string): Promise<readonly StepRecord[]> {
  const rows = await session.query(STEPS, [runId])
  return rows.map((row) => ({
    seq: Number(row['seq']),
    atMs: Number(row['at_ms']),
    type: String(row['type']),
    detail: JSON.parse(String(row['detail'])) as StepRecord['detail'],
  }))
}
