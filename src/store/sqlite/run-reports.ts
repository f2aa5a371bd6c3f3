import type { DatabaseSync } from 'node:sqlite'

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
import type { Writer } from './transaction.ts'

export const NEWEST_RUNS = `
  SELECT ${runs.list} FROM reported_runs
  WHERE org_id = :orgId AND (created_at_ms, run_id) < (:createdAtMs, :runId)
    AND (:status IS NULL OR status = :status) AND (:agent IS NULL OR agent = :agent)
  ORDER BY created_at_ms DESC, run_id DESC LIMIT :limit`

export function createRunReports(db: DatabaseSync, { read, transact }: Writer): RunReportStore {
  const statements = prepare(db)

  /** Whoever holds a key may tell of any number of runs: those that were told of longest ago go first. */
  const makeRoom = (orgId: string, keyId: string, max: number) => {
    const kept = Number(statements.count.get(orgId, keyId)?.['runs'])
    if (kept > max) statements.drop.run(orgId, keyId, kept - max + Math.floor(max * PART_OF_RUNS_AT_ONCE))
  }
  const noteRuns = (report: RunReport, limits: RunReportLimits) => {
    const { orgId, keyId, replica, atMs } = report
    const owners = JSON.stringify(report.ownerKeyIds)
    for (const run of report.runs) {
      // A clock that was ahead for a while must not keep out what is told after it was set right.
      const createdAtMs = Math.min(run.createdAtMs, atMs)
      const changedAtMs = Math.min(run.changedAtMs, atMs)
      const { runId, agent, caller, status, code } = run
      const named = { runId, agent, caller, status, code, createdAtMs, changedAtMs }
      statements.run.run({ orgId, keyId, replica, atMs, owners, ...named })
    }
    if (report.runs.length > 0) makeRoom(orgId, keyId, limits.runsOfKey)
  }
  const noteSteps = ({ orgId, replica, ownerKeyIds, steps }: RunReport, limits: RunReportLimits) => {
    for (const [runId, ofRun] of Map.groupBy(steps, (step) => step.runId)) {
      const owner = statements.owner.get(orgId, runId)?.['key_id']
      if (owner === undefined || !ownerKeyIds.includes(String(owner))) continue
      for (const { seq, atMs, type, detail } of ofRun) {
        statements.step.run(orgId, runId, atMs, seq, replica, type, JSON.stringify(detail))
      }
      statements.dropSteps.run(orgId, runId, orgId, runId, limits.stepsOfRun)
    }
  }
  const noteEffects = (report: RunReport, limits: RunReportLimits) => {
    const { orgId, keyId, replica, atMs, unknownEffects } = report
    const owners = JSON.stringify(report.ownerKeyIds)
    statements.heard.run({ orgId, owners, replica, atMs, before: atMs - HEARD_EVERY_MS })
    if (unknownEffects === undefined) return
    statements.dropEffects.run(orgId, owners, replica)
    for (const { id, effect, kind, tool, runId, callId, changedAtMs } of unknownEffects) {
      const named = { id, effect, kind, tool, runId, callId, changedAtMs }
      statements.effect.run({ orgId, keyId, replica, atMs, ...named })
    }
    if (unknownEffects.length > 0) statements.capEffects.run(orgId, keyId, limits.effectsOfKey)
  }

  return {
    recordRuns: async (report, limits = RUN_REPORT_LIMITS) =>
      transact(() => {
        noteRuns(report, limits)
        noteSteps(report, limits)
        noteEffects(report, limits)
      }),
    runOwners: async (orgId, { runIds, replica }) =>
      read(() =>
        statements.owners
          .all({ orgId, runIds: JSON.stringify(runIds), replica })
          .map((row) => String(row['key_id'])),
      ),
    listReportedRuns: async (orgId, { status, agent }, { after, limit }) =>
      read(() => {
        const { createdAtMs, runId } = after ?? { createdAtMs: Number.MAX_SAFE_INTEGER, runId: '' }
        const wanted = { orgId, createdAtMs, runId, status: status ?? null, agent: agent ?? null, limit }
        return statements.newest.all(wanted).map(runs.of)
      }),
    findReportedRun: async (orgId, runId) =>
      read(() => {
        const row = statements.one.get(orgId, runId)
        if (row === undefined) return undefined
        return { run: runs.of(row), steps: statements.steps.all(orgId, runId).map(stepOf) }
      }),
    listUnknownEffects: async (orgId, heardSinceMs, limit) =>
      read(() => statements.effects.all({ orgId, heardSinceMs, limit }).map(effects.of)),
    pruneRunReports: async ({ runsBeforeMs, heardBeforeMs }, limit) =>
      transact(() => {
        const gone = Number(statements.pruneRuns.run(runsBeforeMs, limit).changes)
        return gone + Number(statements.pruneEffects.run({ heardSinceMs: heardBeforeMs, limit }).changes)
      }),
  }
}

const STEP_KEY = 'org_id, run_id, at_ms, seq, replica'
const EFFECT_KEY = 'org_id, key_id, replica, effect_id'
/** A replica that only listens for stops is there too. */
const HEARD = `(told.heard_at_ms >= :heardSinceMs OR EXISTS (
  SELECT 1 FROM replicas seen
  WHERE seen.org_id = told.org_id AND seen.key_id = told.key_id AND seen.replica = told.replica
    AND seen.last_seen_at_ms >= :heardSinceMs))`

function prepare(db: DatabaseSync) {
  const among = 'IN (SELECT value FROM json_each(:owners))'
  return {
    run: db.prepare(`
      INSERT INTO reported_runs (org_id, ${runs.list})
      VALUES (:orgId, :runId, :keyId, :replica, :agent, :caller, :status, :code, :createdAtMs, :changedAtMs, :atMs)
      ON CONFLICT DO UPDATE SET key_id = :keyId, replica = :replica, agent = :agent, caller = :caller,
        status = :status, code = :code, changed_at_ms = :changedAtMs, reported_at_ms = :atMs
      WHERE changed_at_ms <= :changedAtMs AND key_id ${among}`),
    count: db.prepare('SELECT count(*) AS runs FROM reported_runs WHERE org_id = ? AND key_id = ?'),
    drop: db.prepare(
      `DELETE FROM reported_runs WHERE (org_id, run_id) IN (
         SELECT org_id, run_id FROM reported_runs WHERE org_id = ? AND key_id = ?
         ORDER BY reported_at_ms, run_id LIMIT ?)`,
    ),
    owner: db.prepare('SELECT key_id FROM reported_runs WHERE org_id = ? AND run_id = ?'),
    owners: db.prepare(
      `SELECT key_id FROM reported_runs
       WHERE org_id = :orgId AND run_id IN (SELECT value FROM json_each(:runIds))
       UNION SELECT key_id FROM unknown_effects WHERE org_id = :orgId AND replica = :replica`,
    ),
    step: db.prepare(
      `INSERT INTO reported_steps (${STEP_KEY}, type, detail) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO NOTHING`,
    ),
    dropSteps: db.prepare(
      `DELETE FROM reported_steps WHERE org_id = ? AND run_id = ? AND (at_ms, seq, replica) IN (
         SELECT at_ms, seq, replica FROM reported_steps WHERE org_id = ? AND run_id = ?
         ORDER BY at_ms DESC, seq DESC, replica DESC LIMIT -1 OFFSET ?)`,
    ),
    newest: db.prepare(NEWEST_RUNS),
    one: db.prepare(`SELECT ${runs.list} FROM reported_runs WHERE org_id = ? AND run_id = ?`),
    steps: db.prepare(
      'SELECT * FROM reported_steps WHERE org_id = ? AND run_id = ? ORDER BY at_ms, seq, replica',
    ),
    pruneRuns: db.prepare(
      `DELETE FROM reported_runs WHERE (org_id, run_id) IN (
         SELECT org_id, run_id FROM reported_runs WHERE reported_at_ms < ? LIMIT ?)`,
    ),
    heard: db.prepare(
      `UPDATE unknown_effects SET heard_at_ms = :atMs
       WHERE org_id = :orgId AND key_id ${among} AND replica = :replica AND heard_at_ms < :before`,
    ),
    dropEffects: db.prepare(
      `DELETE FROM unknown_effects
       WHERE org_id = ? AND key_id IN (SELECT value FROM json_each(?)) AND replica = ?`,
    ),
    effect: db.prepare(`
      INSERT INTO unknown_effects
        (${EFFECT_KEY}, effect, kind, tool, run_id, call_id, changed_at_ms, reported_at_ms, heard_at_ms)
      VALUES (:orgId, :keyId, :replica, :id, :effect, :kind, :tool, :runId, :callId, :changedAtMs, :atMs, :atMs)
      ON CONFLICT DO NOTHING`),
    capEffects: db.prepare(
      `DELETE FROM unknown_effects WHERE (${EFFECT_KEY}) IN (
         SELECT ${EFFECT_KEY} FROM unknown_effects WHERE org_id = ? AND key_id = ?
         ORDER BY heard_at_ms DESC LIMIT -1 OFFSET ?)`,
    ),
    // Of several replicas of one key, what the last one said.
    effects: db.prepare(`
      SELECT ${effects.list}, max(reported_at_ms) FROM unknown_effects told
      WHERE org_id = :orgId AND ${HEARD}
      GROUP BY key_id, effect_id ORDER BY changed_at_ms, effect_id LIMIT :limit`),
    pruneEffects: db.prepare(
      `DELETE FROM unknown_effects WHERE (${EFFECT_KEY}) IN (
         SELECT ${EFFECT_KEY} FROM unknown_effects told WHERE heard_at_ms < :heardSinceMs AND NOT ${HEARD}
         LIMIT :limit)`,
    ),
  }
}
