import type { DrillStore, DrillSummary } from '../../control-plane/drills/drill-store.ts'
import { summaryOf } from '../../control-plane/drills/summary.ts'
import type { SignedDrillBody } from '../../machineid/wire-drills.ts'
import type { Row } from '../control-plane-rows.ts'
import type { Database } from './database.ts'

const ADD = `
  INSERT INTO drills (org_id, drill_id, stored_at_ms, summary, drill) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT DO NOTHING`
const SUMMARIES = 'SELECT summary FROM drills WHERE org_id = $1'
const IN_ORDER = 'ORDER BY stored_at_ms DESC, drill_id DESC LIMIT $2'
const NEWEST = `${SUMMARIES} ${IN_ORDER}`
const BEFORE = `${SUMMARIES}
  AND (stored_at_ms, drill_id) < (SELECT stored_at_ms, drill_id FROM drills WHERE org_id = $1 AND drill_id = $3)
  ${IN_ORDER}`
const ONE = 'SELECT drill FROM drills WHERE org_id = $1 AND drill_id = $2'
const KEY = 'SELECT public_key, private_key FROM signing_keys WHERE org_id = $1'
const ADD_KEY = `
  INSERT INTO signing_keys (org_id, public_key, private_key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`

export function createDrillStore({ query, transact }: Database): DrillStore {
  return {
    saveDrill: (orgId, drill, atMs) =>
      transact(async (session) => {
        const { report } = drill
        const texts = [JSON.stringify(summaryOf(report)), JSON.stringify(drill)]
        return (await session.run(ADD, [orgId, report.drillId, atMs, ...texts])) === 1
      }),
    listDrills: async (orgId, { before, limit }) => {
      const rows = await (before === undefined
        ? query(NEWEST, [orgId, limit])
        : query(BEFORE, [orgId, limit, before]))
      return rows.map((row) => JSON.parse(String(row['summary'])) as DrillSummary)
    },
    findDrill: async (orgId, drillId) => {
      const [row] = await query(ONE, [orgId, drillId])
      return row && (JSON.parse(String(row['drill'])) as SignedDrillBody)
    },
    signingKey: async (orgId, made) => {
      const [known] = await query(KEY, [orgId])
      if (known !== undefined) return keyOf(known)
      // Of nodes that make one at the same time, the later ones wait here for the first, and then read its.
      const [, [first]] = await transact((session) =>
        Promise.all([
          session.run(ADD_KEY, [orgId, made.publicKey, made.privateKey]),
          session.query(KEY, [orgId]),
        ]),
      )
      return first === undefined ? made : keyOf(first)
    },
  }
}

function keyOf(row: Row) {
  return { publicKey: String(row['public_key']), privateKey: String(row['private_key']) }
}
