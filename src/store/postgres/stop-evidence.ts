import type { StopEvidence, StopStore } from '../../control-plane/stops/stop-store.ts'
import type { Row } from '../control-plane-rows.ts'
import { ackOf, callsText, replicaOf } from '../stop-rows.ts'
import { storableText } from '../text.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import { deleteSome, jsonRows, jsonTexts } from './statements.ts'
import { acksWithRoom, idOf, makeRoomForReplicas } from './stop-caps.ts'

type EvidenceStore = Pick<
  StopStore,
  'recordStopEvidence' | 'listReplicas' | 'listStopAcks' | 'closeStreams' | 'pruneStopEvidence'
>

export interface StopEvidenceOptions {
  /** Of this process, which speaks of its own streams only: a new one after each start. */
  readonly nodeId: string
  /** Every node that lives, by what the database knows; one that has a stream open was known before. */
  readonly livingNodes: () => Promise<readonly string[]>
  /** Default 10,000 each. */
  readonly maxReplicasOfKey?: number | undefined
  readonly maxAcksOfKey?: number | undefined
}

/** Who listens for stops, and what became of each stop there. */
export function createStopEvidence(database: Database, options: StopEvidenceOptions): EvidenceStore {
  const { nodeId, livingNodes, maxReplicasOfKey, maxAcksOfKey } = options
  const { query, transact } = database
  return {
    recordStopEvidence: async ({ seen, told, acks }) => {
      const replicas = seen.map((one) => ({ replica: replicaRow(one), stream: streamRow(one, nodeId) }))
      await makeRoomForReplicas(
        database,
        replicas.map(({ replica }) => replica),
        maxReplicasOfKey,
      )
      const wanted = [...told.map(toldRow), ...acks.map(ackRow)]
      const taken = await acksWithRoom(database, wanted, maxAcksOfKey)
      await transact(async (session) => {
        // Replicas before acks, each in the order of their keys: so two nodes wait for each other in one direction only.
        await Promise.all([
          ...inRounds(replicas, ({ replica }) => idOf(replica, REPLICA_KEY)).flatMap((round) => [
            put(
              session,
              PUT_REPLICAS,
              round.map(({ replica }) => replica),
            ),
            put(
              session,
              PUT_STREAMS,
              round.map(({ stream }) => stream).filter((stream) => stream !== undefined),
            ),
          ]),
          ...inRounds(taken, (row) => idOf(row, ACK_KEY)).map((round) => put(session, PUT_ACKS, round)),
        ])
      })
    },
    listReplicas: async (orgId, seenSinceMs, { after, limit } = {}) =>
      (
        await query(REPLICAS, [orgId, after?.keyId ?? '', after?.replica ?? '', limit ?? null, seenSinceMs])
      ).map(replicaOf),
    listStopAcks: async (orgId, epoch, { after, limit } = {}) =>
      (await query(ACKS, [orgId, after?.keyId ?? '', after?.replica ?? '', limit ?? null, epoch])).map(ackOf),
    closeStreams: async (of) => {
      // In this order: who has noted a stream by now is among those that live, if it lives.
      const noted = (await query(NODES_WITH_STREAMS)).map((row) => String(row['node_id']))
      const living = new Set(await livingNodes())
      const gone = noted.filter((id) => (id === nodeId ? of !== 'gone' : !living.has(id)))
      if (gone.length > 0) await transact((session) => session.run(CLOSE_STREAMS, [jsonTexts(gone)]))
    },
    pruneStopEvidence: (beforeMs, limit) =>
      transact(async (session) => {
        const replicas = await session.run(PRUNE_REPLICAS, [beforeMs, limit])
        return replicas + (await session.run(PRUNE_ACKS, [beforeMs, limit - replicas]))
      }),
  }
}

async function put(session: Session, statement: string, rows: readonly Row[]): Promise<void> {
  if (rows.length > 0) await session.run(statement, [jsonRows(rows)])
}

/** One statement writes a row once: what is said of one row again is said by the next. */
function inRounds<T>(all: readonly T[], idOfOne: (one: T) => string): T[][] {
  const rounds: T[][] = []
  const times = new Map<string, number>()
  for (const one of all) {
    const id = idOfOne(one)
    const round = times.get(id) ?? 0
    times.set(id, round + 1)
    ;(rounds[round] ??= []).push(one)
  }
  return rounds
}

type Seen = StopEvidence['seen'][number]

function keyColumns({ orgId, keyId, replica }: Pick<Seen, 'orgId' | 'keyId' | 'replica'>): Row {
  return { org_id: orgId, key_id: storableText(keyId), replica: storableText(replica) }
}

function replicaRow(seen: Seen): Row {
  const { keyKind, atMs, leaving = false, devices, timeoutMs, latencyMs } = seen
  const isReport = devices !== undefined || leaving
  return {
    ...keyColumns(seen),
    key_kind: keyKind,
    devices: devices === undefined ? null : JSON.stringify(devices),
    first_seen_at_ms: atMs,
    last_seen_at_ms: atMs,
    reported_at_ms: isReport ? atMs : null,
    left_at_ms: leaving ? atMs : null,
    timeout_ms: isReport ? (timeoutMs ?? null) : null,
    latency: isReport && latencyMs ? JSON.stringify(latencyMs) : null,
  }
}

function streamRow(seen: Seen, nodeId: string): Row | undefined {
  if (seen.streamUp === undefined) return undefined
  return { ...keyColumns(seen), node_id: nodeId, up: Number(seen.streamUp), at_ms: seen.atMs }
}

const NO_COUNTS = { aborted: 0, finished: 0, unknown: 0, running: 0, calls: '[]' }

function toldRow(told: StopEvidence['told'][number]): Row {
  const { epoch, atMs } = told
  return { ...keyColumns(told), epoch, told_at_ms: atMs, noted_at_ms: atMs, ...NO_COUNTS }
}

function ackRow(of: StopEvidence['acks'][number]): Row {
  const { atMs } = of
  const { epoch, phase, aborted, finished, unknown, running, calls = [] } = of.ack
  return {
    ...keyColumns(of),
    epoch,
    [phase === 'received' ? 'received_at_ms' : 'settled_at_ms']: atMs,
    noted_at_ms: atMs,
    aborted,
    finished,
    unknown,
    running,
    calls: callsText(calls),
  }
}

const REPLICA_KEY = ['org_id', 'key_id', 'replica']
const ACK_KEY = ['org_id', 'epoch', 'key_id', 'replica']

const REPLICA_COLUMNS = [
  ...REPLICA_KEY,
  'key_kind',
  'devices',
  'first_seen_at_ms',
  'last_seen_at_ms',
  'reported_at_ms',
  'left_at_ms',
  'timeout_ms',
  'latency',
].join(', ')
/** Of a row that is no report it is null. */
const IS_NEWER = 'excluded.reported_at_ms >= coalesce(kept.reported_at_ms, excluded.reported_at_ms)'
const ifNewer = (column: string) =>
  `${column} = CASE WHEN ${IS_NEWER} THEN coalesce(excluded.${column}, kept.${column}) ELSE kept.${column} END`
// One that has left is back only when it reports, or opens a stream, after that.
const PUT_REPLICAS = `
  INSERT INTO replicas AS kept (${REPLICA_COLUMNS})
  SELECT ${REPLICA_COLUMNS} FROM json_populate_recordset(NULL::replicas, $1::json) ORDER BY ${REPLICA_KEY.join(', ')}
  ON CONFLICT (${REPLICA_KEY.join(', ')}) DO UPDATE SET
    first_seen_at_ms = least(kept.first_seen_at_ms, excluded.first_seen_at_ms),
    last_seen_at_ms = greatest(kept.last_seen_at_ms, excluded.last_seen_at_ms),
    ${['devices', 'timeout_ms', 'latency'].map(ifNewer).join(', ')},
    reported_at_ms = greatest(kept.reported_at_ms, excluded.reported_at_ms),
    left_at_ms = CASE
      WHEN ${IS_NEWER} AND (excluded.left_at_ms IS NOT NULL OR kept.left_at_ms < excluded.reported_at_ms)
      THEN excluded.left_at_ms ELSE kept.left_at_ms END`
const PUT_STREAMS = `
  WITH said AS (
    INSERT INTO replica_streams AS kept (${REPLICA_KEY.join(', ')}, node_id, up, at_ms)
    SELECT ${REPLICA_KEY.join(', ')}, node_id, up, at_ms
    FROM json_populate_recordset(NULL::replica_streams, $1::json) ORDER BY ${REPLICA_KEY.join(', ')}
    ON CONFLICT (${REPLICA_KEY.join(', ')}, node_id) DO UPDATE SET up = excluded.up, at_ms = excluded.at_ms
    WHERE kept.at_ms <= excluded.at_ms
    RETURNING ${REPLICA_KEY.join(', ')}, up, at_ms)
  UPDATE replicas SET left_at_ms = NULL FROM said
  WHERE ${REPLICA_KEY.map((column) => `replicas.${column} = said.${column}`).join(' AND ')}
    AND said.up = 1 AND replicas.left_at_ms < said.at_ms`

const COUNTS = ['aborted', 'finished', 'unknown', 'running', 'calls']
const ACK_COLUMNS = [
  ...ACK_KEY,
  'told_at_ms',
  'received_at_ms',
  'settled_at_ms',
  ...COUNTS,
  'noted_at_ms',
].join(', ')
/** The counts of an ack are written where it is newer: one that comes late, or twice, changes nothing of them. */
const HAS_NEWER_COUNTS = `CASE
      -- Until nothing runs any more it may say so again.
      WHEN excluded.settled_at_ms IS NOT NULL THEN kept.settled_at_ms IS NULL OR kept.running > 0
      ELSE kept.settled_at_ms IS NULL
        AND coalesce(kept.received_at_ms, excluded.received_at_ms) <= excluded.received_at_ms END`
const least = (column: string) => `${column} = least(kept.${column}, excluded.${column})`
const PUT_ACKS = `
  INSERT INTO stop_acks AS kept (${ACK_COLUMNS})
  SELECT ${ACK_COLUMNS} FROM json_populate_recordset(NULL::stop_acks, $1::json) ORDER BY ${ACK_KEY.join(', ')}
  ON CONFLICT (${ACK_KEY.join(', ')}) DO UPDATE SET
    ${['told_at_ms', 'received_at_ms', 'settled_at_ms'].map(least).join(', ')},
    ${COUNTS.map((count) => `${count} = CASE WHEN ${HAS_NEWER_COUNTS} THEN excluded.${count} ELSE kept.${count} END`).join(', ')}`

const AFTER = '(key_id, replica) > ($2, $3)'
const REPLICAS = `
  SELECT ${REPLICA_KEY.join(', ')}, key_kind, coalesce(devices, '[]') AS devices, first_seen_at_ms,
    last_seen_at_ms, left_at_ms, timeout_ms, latency, denied_at_ms, denied_device_id, denied_code,
    (SELECT max(up) FROM replica_streams stream
     WHERE stream.org_id = replicas.org_id AND stream.key_id = replicas.key_id
       AND stream.replica = replicas.replica) AS stream_up
  FROM replicas WHERE org_id = $1 AND ${AFTER} AND last_seen_at_ms >= $5 ORDER BY key_id, replica LIMIT $4`
const ACKS = `
  SELECT ${ACK_COLUMNS} FROM stop_acks WHERE org_id = $1 AND epoch = $5 AND ${AFTER}
  ORDER BY key_id, replica LIMIT $4`

const NODES_WITH_STREAMS = 'SELECT DISTINCT node_id FROM replica_streams'
const CLOSE_STREAMS = deleteSome('replica_streams', 'node_id IN (SELECT json_array_elements_text($1::json))')
const PRUNE_REPLICAS = deleteSome('replicas', 'last_seen_at_ms < $1 LIMIT $2')
const PRUNE_ACKS = deleteSome('stop_acks', 'noted_at_ms < $1 LIMIT $2')
