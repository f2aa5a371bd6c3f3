import {
  NODE_DEAD_MS,
  type Chores,
  type NodeRecord,
  type NodeRegistry,
} from '../../control-plane/nodes/node-store.ts'
import { mapping } from '../control-plane-rows.ts'
import type { Session } from './session.ts'
import { NOW_MS } from './now.ts'
import { deleteSome } from './statements.ts'

const nodes = mapping<NodeRecord>({
  nodeId: 'node_id',
  host: 'host',
  pid: 'pid',
  version: 'version',
  startedAtMs: 'started_at_ms',
  heardAtMs: 'heard_at_ms',
})

const HEARTBEAT = `
  WITH beat AS (
    INSERT INTO nodes (${nodes.list}) VALUES ($1, $2, $3, $4, ${NOW_MS}, ${NOW_MS})
    ON CONFLICT (node_id) DO UPDATE SET heard_at_ms = excluded.heard_at_ms
    RETURNING ${nodes.list}
  )
  SELECT ${nodes.list} FROM beat
  UNION ALL
  SELECT ${nodes.list} FROM nodes WHERE node_id <> $1 AND heard_at_ms > ${NOW_MS} - ${NODE_DEAD_MS}
  ORDER BY node_id`

/** Which processes use this database. */
export function createNodeRegistry({ query }: Pick<Session, 'query'>, nodeId: string): NodeRegistry {
  return {
    nodeId,
    heartbeat: async ({ host, pid, version }) =>
      (await query(HEARTBEAT, [nodeId, host, pid, version])).map(nodes.of),
    leaveNodes: async () => void (await query('DELETE FROM nodes WHERE node_id = $1', [nodeId])),
  }
}

/** A node that ends without a word is followed by another one after that. */
const CHORES_MS = 10_000
const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

export function createChores({ query }: Pick<Session, 'query'>, nodeId: string): Chores {
  return {
    takeChores: async () => {
      const [row] = await query(
        `UPDATE chores SET node_id = $1, until_ms = ${NOW_MS} + ${CHORES_MS}
         WHERE name = 'housekeeping' AND (node_id = $1 OR until_ms < ${NOW_MS} OR until_ms > ${NOW_MS} + ${2 * CHORES_MS})
         RETURNING reminded_until_ms`,
        [nodeId],
      )
      return row && { remindedUntilMs: Number(row['reminded_until_ms']) }
    },
    noteReminded: async (untilMs) =>
      void (await query(
        `UPDATE chores SET reminded_until_ms = greatest(reminded_until_ms, $2)
         WHERE name = 'housekeeping' AND node_id = $1`,
        [nodeId, untilMs],
      )),
    leaveChores: async () =>
      void (await query(`UPDATE chores SET until_ms = 0 WHERE name = 'housekeeping' AND node_id = $1`, [
        nodeId,
      ])),
    pruneNodes: async (limit) => {
      for (const sql of PRUNES) await query(sql, [limit])
    },
  }
}

const PRUNES = [
  deleteSome('nodes', `heard_at_ms < ${NOW_MS} - ${DAY_MS} LIMIT $1`),
  // Full by then.
  deleteSome('rate_buckets', `at_ms < ${NOW_MS} - ${HOUR_MS} LIMIT $1`),
  deleteSome('mails_sent', `last_at_ms < ${NOW_MS} - ${HOUR_MS} LIMIT $1`),
  deleteSome('decision_rates', `minute < (${NOW_MS} - ${2 * HOUR_MS}) / 60000 LIMIT $1`),
]
