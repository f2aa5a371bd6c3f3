import type { DatabaseSync } from 'node:sqlite'

import type { StopAckRecord } from '../../control-plane/stops/stop-store.ts'
import { MAX_OF_KEY } from '../stop-rows.ts'

const REMEMBERED = 1000

/**
 * Whoever holds a key may claim any name, and so say any number of times what became of one stop: of one stop and key a
 * bounded number is kept. What comes beyond leaves its replica unconfirmed.
 */
export function createAckCap(db: DatabaseSync, max = MAX_OF_KEY) {
  const isKnown = db.prepare(
    'SELECT 1 FROM stop_acks WHERE org_id = ? AND epoch = ? AND key_id = ? AND replica = ?',
  )
  const count = db.prepare(
    'SELECT count(*) AS acks FROM stop_acks WHERE org_id = ? AND epoch = ? AND key_id = ?',
  )
  const counts = new Map<string, number>()

  return {
    /** Whether it is there or may be added, inside the transaction that then does. */
    takes: ({
      orgId,
      epoch,
      keyId,
      replica,
    }: Pick<StopAckRecord, 'orgId' | 'epoch' | 'keyId' | 'replica'>): boolean => {
      if (isKnown.get(orgId, epoch, keyId, replica) !== undefined) return true
      const of = `${orgId} ${epoch} ${keyId}`
      const known = counts.get(of) ?? Number(count.get(orgId, epoch, keyId)?.['acks'])
      if (counts.size >= REMEMBERED) counts.clear()
      counts.set(of, Math.min(known + 1, max))
      return known < max
    },
    /** Some were deleted. */
    forget: (): void => counts.clear(),
  }
}
