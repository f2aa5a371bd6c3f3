import { stopOf } from '../control-plane/stops/stop-record.ts'
import type { ReplicaRecord, StopAckRecord, StopRecord } from '../control-plane/stops/stop-store.ts'
import type { AuditRow, DecisionRecord } from '../control-plane/records.ts'
import { audit, jsonOf, type Row } from './control-plane-rows.ts'

// What both databases keep of stops, and how much.

/** Of one key, replicas, and acks of one stop: as many as one key may hold streams. */
export const MAX_OF_KEY = 10_000
/** How much of that goes at once when there are too many replicas, so that sorting them is rare. */
export const PART_AT_ONCE = 0.1
/** Of what one replica tells of its calls, as JSON in UTF-8. */
const MAX_CALLS_BYTES = 16 * 1024

/** As JSON, the first that have room; the counts beside them are of all. */
export function callsText(calls: StopAckRecord['calls']): string {
  let bytes = '[]'.length
  const texts: string[] = []
  for (const text of calls.map((call) => JSON.stringify(call))) {
    bytes += Buffer.byteLength(text) + ','.length
    if (bytes > MAX_CALLS_BYTES) break
    texts.push(text)
  }
  return `[${texts.join(',')}]`
}

/** A row that is no JSON any more was tampered with: it is judged where the chain is, and keeps no other from being told. */
export function stopsOf(rows: readonly Row[]): StopRecord[] {
  return rows.flatMap((row) => {
    const known = readable(row)
    return (known && stopOf(known)) ?? []
  })
}

function readable(row: Row): AuditRow | undefined {
  try {
    return audit.of(row)
  } catch {
    return undefined
  }
}

export function replicaOf(row: Row): ReplicaRecord {
  const { denied_at_ms: atMs, denied_device_id: deviceId, denied_code: code } = row
  return {
    orgId: row['org_id'],
    keyId: row['key_id'],
    keyKind: row['key_kind'],
    replica: row['replica'],
    devices: jsonOf(row['devices']),
    streamUp: row['stream_up'] === 1,
    firstSeenAtMs: row['first_seen_at_ms'],
    lastSeenAtMs: row['last_seen_at_ms'],
    leftAtMs: row['left_at_ms'],
    timeoutMs: row['timeout_ms'],
    latencyMs: jsonOf(row['latency']),
    lastDenied: atMs === null ? null : { atMs, deviceId, code },
  } as ReplicaRecord
}

export function ackOf(row: Row): StopAckRecord {
  const { aborted, finished, unknown, running } = row
  return {
    orgId: row['org_id'],
    epoch: row['epoch'],
    keyId: row['key_id'],
    replica: row['replica'],
    toldAtMs: row['told_at_ms'],
    receivedAtMs: row['received_at_ms'],
    settledAtMs: row['settled_at_ms'],
    aborted,
    finished,
    unknown,
    running,
    calls: jsonOf(row['calls']),
  } as StopAckRecord
}

/** Of each replica that asked, the last decision, and the last denial. */
export function lastOfReplicas(decisions: readonly DecisionRecord[]): {
  readonly seen: readonly DecisionRecord[]
  readonly denied: readonly DecisionRecord[]
} {
  const seen = new Map<string, DecisionRecord>()
  const denied = new Map<string, DecisionRecord>()
  for (const decision of decisions) {
    if (decision.replica === null) continue
    const id = JSON.stringify([decision.orgId, decision.keyId, decision.replica])
    noteLater(seen, id, decision)
    if (decision.code !== 'ALLOW') noteLater(denied, id, decision)
  }
  return { seen: [...seen.values()], denied: [...denied.values()] }
}

function noteLater(last: Map<string, DecisionRecord>, id: string, decision: DecisionRecord): void {
  const known = last.get(id)
  if (known === undefined || known.atMs < decision.atMs) last.set(id, decision)
}
