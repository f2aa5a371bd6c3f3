import type { DatabaseSync } from 'node:sqlite'

import type { DrillStore, DrillSummary, SigningKeyRecord } from '../../control-plane/drills/drill-store.ts'
import { summaryOf } from '../../control-plane/drills/summary.ts'
import type { SignedDrillBody } from '../../machineid/wire-drills.ts'
import type { Writer } from './transaction.ts'

/** A report can be 256 KiB: a list reads the summaries only, which lie in the index. */
export const NEWEST_DRILLS = `
  SELECT summary FROM drills
  WHERE org_id = :orgId AND (stored_at_ms, drill_id) < (:storedAtMs, :drillId)
  ORDER BY stored_at_ms DESC, drill_id DESC LIMIT :limit`

export function createDrillStore(db: DatabaseSync, { read, transact }: Writer): DrillStore {
  const add = db.prepare(
    `INSERT INTO drills (org_id, drill_id, stored_at_ms, summary, drill) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO NOTHING`,
  )
  const newest = db.prepare(NEWEST_DRILLS)
  const storedAt = db.prepare('SELECT stored_at_ms FROM drills WHERE org_id = ? AND drill_id = ?')
  const one = db.prepare('SELECT drill FROM drills WHERE org_id = ? AND drill_id = ?')
  const key = db.prepare('SELECT public_key, private_key FROM signing_keys WHERE org_id = ?')
  const addKey = db.prepare(
    'INSERT INTO signing_keys (org_id, public_key, private_key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  )
  const findKey = (orgId: string): SigningKeyRecord | undefined => {
    const row = key.get(orgId)
    return row && { publicKey: String(row['public_key']), privateKey: String(row['private_key']) }
  }

  return {
    saveDrill: async (orgId, drill, atMs) =>
      transact(() => {
        const { report } = drill
        const summary = JSON.stringify(summaryOf(report))
        return add.run(orgId, report.drillId, atMs, summary, JSON.stringify(drill)).changes === 1
      }),
    listDrills: async (orgId, { before, limit }) =>
      read(() => {
        const last = before === undefined ? undefined : storedAt.get(orgId, before)
        if (before !== undefined && last === undefined) return []
        const storedAtMs = Number(last?.['stored_at_ms'] ?? Number.MAX_SAFE_INTEGER)
        return newest
          .all({ orgId, storedAtMs, drillId: before ?? '', limit })
          .map((row) => JSON.parse(String(row['summary'])) as DrillSummary)
      }),
    findDrill: async (orgId, drillId) =>
      read(() => {
        const row = one.get(orgId, drillId)
        return row && (JSON.parse(String(row['drill'])) as SignedDrillBody)
      }),
    signingKey: async (orgId, made) => {
      const known = read(() => findKey(orgId))
      if (known !== undefined) return known
      return transact(() => {
        addKey.run(orgId, made.publicKey, made.privateKey)
        return findKey(orgId) ?? made
      })
    },
  }
}
