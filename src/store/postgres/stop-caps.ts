import type { Row } from '../control-plane-rows.ts'
import { MAX_OF_KEY, PART_AT_ONCE } from '../stop-rows.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import { deleteBeyond, jsonRows } from './statements.ts'

// Whoever holds a key may claim any name, and a process has a new one each time it starts: of one key a bounded number
// is kept. What is there is counted in the database, just before the transaction that adds to it. Nodes that count at
// the same time do not see what the others are about to add, so that there can be more than the bound: by what one node
// writes at once (100) times the other nodes, until the next new name.

const OF_REPLICA = ['org_id', 'key_id', 'replica'] as const
const OF_ACK = ['org_id', 'epoch', 'key_id', 'replica'] as const

const same = (columns: readonly string[]) =>
  columns.map((column) => `kept.${column} = fresh.${column}`).join(' AND ')
const fresh = (table: string, columns: readonly string[]) => `
  SELECT DISTINCT ${columns.join(', ')} FROM json_populate_recordset(NULL::${table}, $1::json) fresh
  WHERE NOT EXISTS (SELECT FROM ${table} kept WHERE ${same(columns)})`

const NEW_REPLICAS = `
  SELECT org_id, key_id, count(*) AS added,
    (SELECT count(*) FROM replicas kept WHERE ${same(['org_id', 'key_id'])}) AS kept
  FROM (${fresh('replicas', OF_REPLICA)}) fresh GROUP BY org_id, key_id`
// Those that are silent longest, and open streams last.
const DROP_REPLICAS = deleteBeyond(
  'replicas',
  `org_id = $1 AND key_id = $2
   ORDER BY (
     SELECT coalesce(max(up), 0) FROM replica_streams stream
     WHERE stream.org_id = replicas.org_id AND stream.key_id = replicas.key_id
       AND stream.replica = replicas.replica
   ) DESC, last_seen_at_ms DESC OFFSET $3`,
)

/** Before replicas are added. */
export async function makeRoomForReplicas(
  { query }: Pick<Database, 'query'>,
  replicas: readonly Row[],
  max = MAX_OF_KEY,
): Promise<void> {
  if (replicas.length === 0) return
  for (const row of await query(NEW_REPLICAS, [jsonRows(replicas.map((one) => keyOf(one, OF_REPLICA)))])) {
    const kept = Number(row['kept'])
    const over = kept + Number(row['added']) - max
    if (over <= 0) continue
    const keep = Math.max(0, kept - Math.max(over, Math.ceil(max * PART_AT_ONCE)))
    await query(DROP_REPLICAS, [row['org_id'] ?? null, row['key_id'] ?? null, keep])
  }
}

// No more than the bound is counted.
const NEW_ACKS = `
  WITH fresh AS MATERIALIZED (${fresh('stop_acks', OF_ACK)}),
  counted AS (
    SELECT org_id, epoch, key_id, (
      SELECT count(*) FROM (
        SELECT FROM stop_acks kept WHERE ${same(['org_id', 'epoch', 'key_id'])} LIMIT $2
      ) few
    ) AS kept
    FROM (SELECT DISTINCT org_id, epoch, key_id FROM fresh) fresh)
  SELECT ${OF_ACK.join(', ')}, kept FROM fresh JOIN counted USING (org_id, epoch, key_id)`

/** Those of `acks` that are there or may be added, in their order. What comes beyond leaves its replica unconfirmed. */
export async function acksWithRoom(
  session: Pick<Session, 'query'>,
  acks: readonly Row[],
  max = MAX_OF_KEY,
): Promise<readonly Row[]> {
  if (acks.length === 0) return acks
  const keys = jsonRows(acks.map((one) => keyOf(one, OF_ACK)))
  const isNew = new Set<string>()
  const room = new Map<string, number>()
  for (const row of await session.query(NEW_ACKS, [keys, max])) {
    isNew.add(idOf(row, OF_ACK))
    room.set(stopOf(row), max - Number(row['kept']))
  }
  return acks.filter((row) => {
    const id = idOf(row, OF_ACK)
    if (!isNew.has(id)) return true
    const left = room.get(stopOf(row)) ?? 0
    if (left <= 0) return false
    room.set(stopOf(row), left - 1)
    isNew.delete(id)
    return true
  })
}

function stopOf(row: Row): string {
  return idOf(row, ['org_id', 'epoch', 'key_id'])
}

function keyOf(row: Row, columns: readonly string[]): Row {
  return Object.fromEntries(columns.map((column) => [column, row[column] ?? null]))
}

export function idOf(row: Row, columns: readonly string[]): string {
  return JSON.stringify(columns.map((column) => row[column]))
}
