import { NODE_DEAD_MS, type DrillRunStore } from '../../control-plane/nodes/node-store.ts'
import type { DrillRunBody } from '../../machineid/wire-drills.ts'
import { jsonOf } from '../control-plane-rows.ts'
import type { Database } from './database.ts'
import { NOW_MS } from './now.ts'

const IS_LOST = `heard_at_ms < ${NOW_MS} - ${NODE_DEAD_MS}`

/** One row for each org: the drill that runs there, or ran there last. */
export function createDrillRunState(database: Database): DrillRunStore {
  return {
    claimDrillRun: async (orgId, runId) => {
      const claimed = await database.query(
        `INSERT INTO drill_runs AS r (org_id, run_id, running, heard_at_ms) VALUES ($1, $2, 1, ${NOW_MS})
         ON CONFLICT (org_id) DO UPDATE
           SET run_id = excluded.run_id, running = 1, heard_at_ms = excluded.heard_at_ms
           WHERE r.running = 0 OR r.${IS_LOST}
         RETURNING run_id`,
        [orgId, runId],
      )
      return claimed.length > 0
    },
    tellDrillRun: async (orgId, runId, run) => {
      const told = await database.query(
        `UPDATE drill_runs SET told = $3, running = $4, heard_at_ms = ${NOW_MS}
         WHERE org_id = $1 AND run_id = $2 AND running = 1 RETURNING run_id`,
        [orgId, runId, JSON.stringify(run), run.state === 'running' ? 1 : 0],
      )
      return told.length > 0
    },
    releaseDrillRun: async (orgId, runId) =>
      void (await database.query('UPDATE drill_runs SET running = 0 WHERE org_id = $1 AND run_id = $2', [
        orgId,
        runId,
      ])),
    findDrillRun: (orgId) =>
      database.read(async ({ query }) => {
        // Written down, so that it stays so should the node come back.
        const [, [row]] = await Promise.all([
          query(`UPDATE drill_runs SET running = 0 WHERE org_id = $1 AND running = 1 AND ${IS_LOST}`, [
            orgId,
          ]),
          query('SELECT told, running, heard_at_ms FROM drill_runs WHERE org_id = $1', [orgId]),
        ])
        const run = jsonOf(row?.['told']) as DrillRunBody | null
        if (row === undefined || run === null) return undefined
        const isLost = run.state === 'running' && row['running'] === 0
        return { run, lostAtMs: isLost ? Number(row['heard_at_ms']) : undefined }
      }),
  }
}
