import {
  RUN_REPORT_LIMITS,
  type RunReport,
  type RunReportLimits,
  type RunReportStore,
} from '../../control-plane/runs/run-report-store.ts'
import {
  HEARD_EVERY_MS,
  PART_OF_RUNS_AT_ONCE,
  reportedRuns as runs,
  stepOf,
  unknownEffects as effects,
} from '../desk-rows.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import { deleteBeyond, deleteSome, insertAll, jsonRows, jsonTexts, rowsOf } from './statements.ts'

export function createRunReports({ query, read, snapshot, transact }: Database): RunReportStore {
  return {
    recordRuns: async (report, limits = RUN_REPORT_LIMITS) => {
      await transact(async (session) => {
        // What one replica says comes one after the other: the later report replaces the earlier one, as a whole.
        await Promise.all([
          session.query(ONE_AT_A_TIME, [JSON.stringify([report.orgId, report.replica])]),
          writeRuns(session, report),
          writeSteps(session, report),
          writeEffects(session, report),
        ])
      })
      // On its own: a transaction that deletes what others have in hand, and then waits for them, is one too many. Until
      // then there is more than the limit by what came with the reports that are under way.
      await read((session) => trim(session, report, limits))
    },
    runOwners: async (orgId, { runIds, replica }) =>
      (await query(OWNERS, [orgId, jsonTexts(runIds), replica])).map((row) => String(row['key_id'])),
    listReportedRuns: async (orgId, { status, agent }, { after, limit }) => {
      const { createdAtMs, runId } = after ?? { createdAtMs: Number.MAX_SAFE_INTEGER, runId: '' }
      const wanted = [orgId, createdAtMs, runId, status ?? null, agent ?? null, limit]
      return (await query(NEWEST, wanted)).map(runs.of)
    },
    findReportedRun: (orgId, runId) =>
      snapshot(async (session) => {
        const [[row], steps] = await Promise.all([
          session.query(ONE, [orgId, runId]),
          session.query(STEPS, [orgId, runId]),
        ])
        return row && { run: runs.of(row), steps: steps.map(stepOf) }
      }),
    listUnknownEffects: async (orgId, heardSinceMs, limit) =>
      (await query(EFFECTS, [orgId, heardSinceMs, limit])).map(effects.of),
    pruneRunReports: ({ runsBeforeMs, heardBeforeMs }, limit) =>
      transact(async (session) => {
        const [gone, forgotten] = await Promise.all([
          session.run(PRUNE_RUNS, [runsBeforeMs, limit]),
          session.run(PRUNE_EFFECTS, [heardBeforeMs, limit]),
        ])
        return gone + forgotten
      }),
  }
}

async function writeRuns(session: Session, report: RunReport): Promise<void> {
  const { orgId, keyId, replica, atMs } = report
  // One statement writes a row once. Of what is said of one run the newest counts, and of equally new words the last.
  const newest = new Map<string, RunReport['runs'][number]>()
  for (const run of report.runs) {
    const known = newest.get(run.runId)
    if (known === undefined || known.changedAtMs <= run.changedAtMs) newest.set(run.runId, run)
  }
  if (newest.size === 0) return
  const records = Array.from(newest.values(), (run) => ({
    ...run,
    // A clock that was ahead for a while must not keep out what is told after it was set right.
    createdAtMs: Math.min(run.createdAtMs, atMs),
    changedAtMs: Math.min(run.changedAtMs, atMs),
    keyId,
    replica,
    reportedAtMs: atMs,
  }))
  await session.run(PUT_RUNS, [rowsOf(runs, records, { org_id: orgId }), jsonTexts(report.ownerKeyIds)])
}

async function writeSteps(
  session: Session,
  { orgId, replica, ownerKeyIds, steps }: RunReport,
): Promise<void> {
  if (steps.length === 0) return
  const rows = steps.map(({ runId, seq, atMs, type, detail }) => ({
    org_id: orgId,
    run_id: runId,
    at_ms: atMs,
    seq,
    replica,
    type,
    detail: JSON.stringify(detail),
  }))
  await session.run(ADD_STEPS, [jsonRows(rows), jsonTexts(ownerKeyIds)])
}

async function writeEffects(session: Session, report: RunReport): Promise<void> {
  const { orgId, keyId, replica, atMs, ownerKeyIds, unknownEffects } = report
  const owners = jsonTexts(ownerKeyIds)
  const records = (unknownEffects ?? []).map((effect) => ({ ...effect, replica, reportedAtMs: atMs }))
  const rows = rowsOf(effects, records, { org_id: orgId, key_id: keyId, heard_at_ms: atMs })
  await Promise.all([
    session.run(HEARD, [orgId, owners, replica, atMs, atMs - HEARD_EVERY_MS]),
    unknownEffects && session.run(DROP_EFFECTS, [orgId, owners, replica]),
    records.length > 0 && session.run(ADD_EFFECTS, [rows]),
  ])
}

/** Whoever holds a key may tell of any number: what was told of longest ago goes first. */
async function trim(session: Session, report: RunReport, limits: RunReportLimits): Promise<void> {
  const { orgId, keyId } = report
  const { runsOfKey, stepsOfRun, effectsOfKey } = limits
  const trimRuns = async () => {
    const [counted] = await session.query(COUNT_RUNS, [orgId, keyId])
    if (Number(counted?.['runs']) <= runsOfKey) return
    await session.run(DROP_RUNS, [orgId, keyId, runsOfKey - Math.floor(runsOfKey * PART_OF_RUNS_AT_ONCE)])
  }
  const runIds = new Set(report.steps.map(({ runId }) => runId))
  await Promise.all([
    ...Array.from(runIds, (runId) => session.run(DROP_STEPS, [orgId, runId, stepsOfRun])),
    report.unknownEffects?.length && session.run(CAP_EFFECTS, [orgId, keyId, effectsOfKey]),
    report.runs.length > 0 && trimRuns(),
  ])
}

const amongTexts = (parameter: string) => `IN (SELECT json_array_elements_text(${parameter}::json))`

const ONE_AT_A_TIME = 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))'

// In the order of their keys, so that two nodes wait for each other in one direction only.
const PUT_RUNS = `
  INSERT INTO reported_runs AS kept (org_id, ${runs.list})
  SELECT org_id, ${runs.list} FROM json_populate_recordset(NULL::reported_runs, $1::json) ORDER BY org_id, run_id
  ON CONFLICT (org_id, run_id) DO UPDATE SET
    ${runs.columns
      .filter((column) => column !== 'run_id' && column !== 'created_at_ms')
      .map((column) => `${column} = excluded.${column}`)
      .join(', ')}
  WHERE kept.changed_at_ms <= excluded.changed_at_ms AND kept.key_id ${amongTexts('$2')}`
const COUNT_RUNS = 'SELECT count(*) AS runs FROM reported_runs WHERE org_id = $1 AND key_id = $2'
const DROP_RUNS = deleteBeyond(
  'reported_runs',
  'org_id = $1 AND key_id = $2 ORDER BY reported_at_ms DESC, run_id DESC OFFSET $3',
)
const OWNERS = `
  SELECT key_id FROM reported_runs WHERE org_id = $1 AND run_id ${amongTexts('$2')}
  UNION SELECT key_id FROM unknown_effects WHERE org_id = $1 AND replica = $3`

const STEP_KEY = 'org_id, run_id, at_ms, seq, replica'
// Of runs that are there, and stay there.
const ADD_STEPS = `
  INSERT INTO reported_steps (${STEP_KEY}, type, detail)
  SELECT told.org_id, told.run_id, told.at_ms, told.seq, told.replica, told.type, told.detail
  FROM json_populate_recordset(NULL::reported_steps, $1::json) told
  JOIN reported_runs run ON run.org_id = told.org_id AND run.run_id = told.run_id
  WHERE run.key_id ${amongTexts('$2')}
  ORDER BY told.org_id, told.run_id, told.at_ms, told.seq, told.replica FOR KEY SHARE OF run
  ON CONFLICT DO NOTHING`
const DROP_STEPS = deleteBeyond(
  'reported_steps',
  'org_id = $1 AND run_id = $2 ORDER BY at_ms DESC, seq DESC, replica DESC OFFSET $3',
)
const NEWEST = `
  SELECT ${runs.list} FROM reported_runs
  WHERE org_id = $1 AND (created_at_ms, run_id) < ($2, $3)
    AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL OR agent = $5)
  ORDER BY created_at_ms DESC, run_id DESC LIMIT $6`
const ONE = `SELECT ${runs.list} FROM reported_runs WHERE org_id = $1 AND run_id = $2`
const STEPS = `
  SELECT ${STEP_KEY}, type, detail FROM reported_steps WHERE org_id = $1 AND run_id = $2
  ORDER BY at_ms, seq, replica`
const PRUNE_RUNS = deleteSome('reported_runs', 'reported_at_ms < $1 LIMIT $2')

const HEARD = `
  UPDATE unknown_effects SET heard_at_ms = $4
  WHERE org_id = $1 AND key_id ${amongTexts('$2')} AND replica = $3 AND heard_at_ms < $5`
const DROP_EFFECTS = `
  DELETE FROM unknown_effects WHERE org_id = $1 AND key_id ${amongTexts('$2')} AND replica = $3`
const ADD_EFFECTS = `
  ${insertAll('unknown_effects', ['org_id', 'key_id', 'heard_at_ms', ...effects.columns])} ON CONFLICT DO NOTHING`
const CAP_EFFECTS = deleteBeyond(
  'unknown_effects',
  'org_id = $1 AND key_id = $2 ORDER BY heard_at_ms DESC OFFSET $3',
)
/** A replica that only listens for stops is there too. */
const heardSince = (parameter: string) => `(told.heard_at_ms >= ${parameter} OR EXISTS (
  SELECT FROM replicas seen
  WHERE seen.org_id = told.org_id AND seen.key_id = told.key_id AND seen.replica = told.replica
    AND seen.last_seen_at_ms >= ${parameter}))`
// Of several replicas of one key, what the last one said.
const EFFECTS = `
  SELECT ${effects.list} FROM (
    SELECT DISTINCT ON (key_id, effect_id) ${effects.list} FROM unknown_effects told
    WHERE org_id = $1 AND ${heardSince('$2')} ORDER BY key_id, effect_id, reported_at_ms DESC
  ) last ORDER BY changed_at_ms, effect_id LIMIT $3`
const PRUNE_EFFECTS = deleteSome(
  'unknown_effects told',
  `heard_at_ms < $1 AND NOT ${heardSince('$1')} LIMIT $2`,
)
/** For `EXPLAIN`. */
export const RUN_STATEMENTS = { NEWEST }
