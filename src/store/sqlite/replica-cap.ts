import type { DatabaseSync } from 'node:sqlite'

import { MAX_OF_KEY, PART_AT_ONCE } from '../stop-rows.ts'

/**
 * A process has a new name each time it starts, and whoever holds a key may claim any: of one key a bounded number is
 * kept, and those silent longest go first.
 */
export function createReplicaCap(db: DatabaseSync, max = MAX_OF_KEY) {
  const isKnown = db.prepare('SELECT 1 FROM replicas WHERE org_id = ? AND key_id = ? AND replica = ?')
  const count = db.prepare('SELECT count(*) AS replicas FROM replicas WHERE org_id = ? AND key_id = ?')
  const drop = db.prepare(
    `DELETE FROM replicas WHERE (org_id, key_id, replica) IN (
       SELECT org_id, key_id, replica FROM replicas WHERE org_id = ? AND key_id = ?
       ORDER BY stream_up, last_seen_at_ms LIMIT ?)`,
  )
  const counts = new Map<string, number>()

  return {
    /** Inside the transaction that then adds the replica. */
    makeRoom: (orgId: string, keyId: string, replica: string): void => {
      if (isKnown.get(orgId, keyId, replica) !== undefined) return
      const known = counts.get(keyId) ?? Number(count.get(orgId, keyId)?.['replicas'])
      const dropped = known < max ? 0 : Number(drop.run(orgId, keyId, Math.ceil(max * PART_AT_ONCE)).changes)
      counts.set(keyId, known - dropped + 1)
    },
    /** Others were deleted. */
    forget: (): void => counts.clear(),
  }
}
