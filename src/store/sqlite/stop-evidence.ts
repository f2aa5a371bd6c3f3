import type { DatabaseSync } from 'node:sqlite'

import type { DecisionRecord } from '../../control-plane/records.ts'
import type { ReplicaRecord, StopEvidence, StopStore } from '../../control-plane/stops/stop-store.ts'
import { ackOf, callsText, lastOfReplicas, replicaOf } from '../stop-rows.ts'
import { createAckCap } from './ack-cap.ts'
import { createReplicaCap } from './replica-cap.ts'
import type { Writer } from './transaction.ts'

type EvidenceStore = Pick<
  StopStore,
  'recordStopEvidence' | 'listReplicas' | 'listStopAcks' | 'closeStreams' | 'pruneStopEvidence'
>

/** Who listens for stops, and what became of each stop there. */
export function createStopEvidence(
  db: DatabaseSync,
  { read, transact }: Writer,
  { maxAcksOfKey }: { readonly maxAcksOfKey?: number } = {},
): EvidenceStore {
  const statements = prepare(db)
  const cap = createReplicaCap(db)
  const ackCap = createAckCap(db, maxAcksOfKey)

  const noteSeen = (seen: StopEvidence['seen'][number]) => {
    const { orgId, keyId, replica, keyKind, atMs, streamUp, leaving, devices, timeoutMs, latencyMs } = seen
    cap.makeRoom(orgId, keyId, replica)
    const given = devices === undefined ? null : JSON.stringify(devices)
    const latency = latencyMs === undefined ? null : JSON.stringify(latencyMs)
    statements.seen.run({ orgId, keyId, replica, keyKind, atMs, devices: given })
    if (streamUp !== undefined) statements.stream.run({ orgId, keyId, replica, atMs, up: Number(streamUp) })
    if (given !== null || leaving === true) {
      const report = {
        devices: given,
        timeoutMs: timeoutMs ?? null,
        latency,
        leaving: Number(leaving === true),
      }
      statements.report.run({ orgId, keyId, replica, atMs, ...report })
    }
  }
  const noteAck = ({ orgId, keyId, replica, atMs, ack }: StopEvidence['acks'][number]) => {
    const { epoch, phase, aborted, finished, unknown, running, calls = [] } = ack
    if (!ackCap.takes({ orgId, epoch, keyId, replica })) return
    const counts = { aborted, finished, unknown, running, calls: callsText(calls) }
    statements[phase].run({ orgId, epoch, keyId, replica, atMs, ...counts })
  }

  return {
    recordStopEvidence: async ({ seen, told, acks }) =>
      transact(() => {
        seen.forEach(noteSeen)
        for (const { orgId, keyId, replica, atMs, epoch } of told) {
          if (ackCap.takes({ orgId, epoch, keyId, replica }))
            statements.told.run({ orgId, epoch, keyId, replica, atMs })
        }
        acks.forEach(noteAck)
      }),
    listReplicas: async (orgId, seenSinceMs, { after, limit = -1 } = {}) =>
      read(() => statements.replicas.all({ orgId, seenSinceMs, ...placeOf(after), limit }).map(replicaOf)),
    listStopAcks: async (orgId, epoch, { after, limit = -1 } = {}) =>
      read(() => statements.acks.all({ orgId, epoch, ...placeOf(after), limit }).map(ackOf)),
    closeStreams: async () => transact(() => void statements.closeStreams.run()),
    pruneStopEvidence: async (beforeMs, limit) =>
      transact(() => {
        const replicas = Number(statements.pruneReplicas.run(beforeMs, limit).changes)
        if (replicas > 0) cap.forget()
        const acks = Number(statements.pruneAcks.run(beforeMs, limit - replicas).changes)
        if (acks > 0) ackCap.forget()
        return replicas + acks
      }),
  }
}

/** Notes what known replicas were told, inside the caller's transaction: the last of each is enough. */
export function createDenialNotes(db: DatabaseSync): (decisions: readonly DecisionRecord[]) => void {
  const askedAt = db.prepare(
    `UPDATE replicas SET last_seen_at_ms = max(last_seen_at_ms, :atMs)
     WHERE org_id = :orgId AND key_id = :keyId AND replica = :replica`,
  )
  const deniedAt = db.prepare(
    `UPDATE replicas SET denied_at_ms = :atMs, denied_device_id = :deviceId, denied_code = :code
     WHERE org_id = :orgId AND key_id = :keyId AND replica = :replica
       AND (denied_at_ms IS NULL OR denied_at_ms <= :atMs)`,
  )
  return (decisions) => {
    const { seen, denied } = lastOfReplicas(decisions)
    for (const { orgId, keyId, replica, atMs } of seen) askedAt.run({ orgId, keyId, replica, atMs })
    for (const { orgId, keyId, replica, atMs, deviceId, code } of denied) {
      deniedAt.run({ orgId, keyId, replica, atMs, deviceId, code })
    }
  }
}

function placeOf(after: Pick<ReplicaRecord, 'keyId' | 'replica'> | undefined) {
  return { afterKeyId: after?.keyId ?? '', afterReplica: after?.replica ?? '' }
}

const OF_REPLICA = 'org_id = :orgId AND key_id = :keyId AND replica = :replica'
const AFTER = '(key_id, replica) > (:afterKeyId, :afterReplica)'
const COUNTS = ['aborted', 'finished', 'unknown', 'running', 'calls']

function prepare(db: DatabaseSync) {
  /** The counts of an ack are written where `newer` holds: one that comes late, or twice, changes nothing of them. */
  const ack = (column: 'received_at_ms' | 'settled_at_ms', newer: string) =>
    db.prepare(`
      INSERT INTO stop_acks (org_id, epoch, key_id, replica, ${column}, ${COUNTS.join(', ')}, noted_at_ms)
      VALUES (:orgId, :epoch, :keyId, :replica, :atMs, ${COUNTS.map((count) => `:${count}`).join(', ')}, :atMs)
      ON CONFLICT DO UPDATE SET
        ${COUNTS.map((count) => `${count} = iif(${newer}, excluded.${count}, ${count})`).join(', ')},
        ${column} = min(coalesce(${column}, :atMs), :atMs)`)
  return {
    seen: db.prepare(`
      INSERT INTO replicas
        (org_id, key_id, replica, key_kind, devices, first_seen_at_ms, last_seen_at_ms, stream_up)
      VALUES (:orgId, :keyId, :replica, :keyKind, coalesce(:devices, '[]'), :atMs, :atMs, 0)
      ON CONFLICT DO UPDATE SET
        first_seen_at_ms = min(first_seen_at_ms, excluded.first_seen_at_ms),
        last_seen_at_ms = max(last_seen_at_ms, excluded.last_seen_at_ms)`),
    // One that has left is back only when it opens a stream, or reports, after that.
    stream: db.prepare(`
      UPDATE replicas SET stream_up = :up, stream_at_ms = :atMs,
        left_at_ms = iif(:up = 1 AND left_at_ms < :atMs, NULL, left_at_ms)
      WHERE ${OF_REPLICA} AND (stream_at_ms IS NULL OR stream_at_ms <= :atMs)`),
    report: db.prepare(`
      UPDATE replicas SET devices = coalesce(:devices, devices), timeout_ms = coalesce(:timeoutMs, timeout_ms),
        latency = coalesce(:latency, latency), reported_at_ms = :atMs,
        left_at_ms = CASE WHEN :leaving = 1 THEN :atMs WHEN left_at_ms < :atMs THEN NULL ELSE left_at_ms END
      WHERE ${OF_REPLICA} AND (reported_at_ms IS NULL OR reported_at_ms <= :atMs)`),
    told: db.prepare(`
      INSERT INTO stop_acks (org_id, epoch, key_id, replica, told_at_ms, noted_at_ms)
      VALUES (:orgId, :epoch, :keyId, :replica, :atMs, :atMs)
      ON CONFLICT DO UPDATE SET told_at_ms = min(coalesce(told_at_ms, :atMs), :atMs)`),
    received: ack('received_at_ms', 'settled_at_ms IS NULL AND coalesce(received_at_ms, :atMs) <= :atMs'),
    // Until nothing runs any more it may say so again.
    settled: ack('settled_at_ms', 'settled_at_ms IS NULL OR running > 0'),
    replicas: db.prepare(
      `SELECT * FROM replicas WHERE org_id = :orgId AND ${AFTER} AND last_seen_at_ms >= :seenSinceMs
       ORDER BY key_id, replica LIMIT :limit`,
    ),
    acks: db.prepare(
      `SELECT * FROM stop_acks WHERE org_id = :orgId AND epoch = :epoch AND ${AFTER}
       ORDER BY key_id, replica LIMIT :limit`,
    ),
    closeStreams: db.prepare('UPDATE replicas SET stream_up = 0 WHERE stream_up = 1'),
    pruneReplicas: db.prepare(
      `DELETE FROM replicas WHERE (org_id, key_id, replica) IN (
         SELECT org_id, key_id, replica FROM replicas WHERE last_seen_at_ms < ? LIMIT ?)`,
    ),
    pruneAcks: db.prepare(
      `DELETE FROM stop_acks WHERE (org_id, epoch, key_id, replica) IN (
         SELECT org_id, epoch, key_id, replica FROM stop_acks WHERE noted_at_ms < ? LIMIT ?)`,
    ),
  }
}
