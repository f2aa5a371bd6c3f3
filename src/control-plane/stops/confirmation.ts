import type { StopBody } from '../../machineid/wire-stops.ts'
import { isoOrNull } from '../times.ts'
import { stopHits } from './stop-hits.ts'
import type { ReplicaRecord, StopAckRecord, StopRecord } from './stop-store.ts'

/** How long before a stop a replica may have been heard of last, and still be waited for. */
export const CONCERNED_MS = 60 * 60 * 1000

type StopReplica = StopBody['replicas'][number]

/** What is known of one stop, by what was observed of each replica that it concerns: no call that returned counts. */
export function confirmationOf(
  stop: readonly StopRecord[],
  replicas: readonly ReplicaRecord[],
  acks: readonly StopAckRecord[],
): Pick<StopBody, 'state' | 'replicas'> {
  const atMs = stop[0]?.atMs ?? 0
  const hits = stopHits(stop)
  const isHit = ({ keyId, devices }: ReplicaRecord) =>
    hits.keyIds.has(keyId) || hits.all || devices.some(({ deviceId }) => hits.device(deviceId))
  const deniedSince = ({ lastDenied }: ReplicaRecord) =>
    lastDenied !== null && lastDenied.atMs > atMs && hits.device(lastDenied.deviceId) ? lastDenied : null
  const others = new Map(acks.map((ack) => [idOf(ack), ack]))
  const concerned: StopReplica[] = []
  for (const replica of replicas) {
    const ack = others.get(idOf(replica))
    others.delete(idOf(replica))
    if (!wasTold(ack) && !(isConcerned(replica, atMs) && isHit(replica))) continue
    concerned.push(stopReplica({ name: replica.replica, replica, ack, denied: deniedSince(replica) }))
  }
  // Of those that are forgotten what they said is known all the same.
  for (const ack of others.values()) {
    if (!wasTold(ack)) continue
    concerned.push(stopReplica({ name: ack.replica, replica: undefined, ack, denied: null }))
  }
  return { state: stateOf(concerned), replicas: concerned }
}

/** We wrote it to its stream, so it is its own. What it says of a stop by itself anybody with a key could say. */
function wasTold(ack: StopAckRecord | undefined): boolean {
  return ack !== undefined && ack.toldAtMs !== null
}

function stateOf(replicas: readonly Pick<StopReplica, 'state'>[]): StopBody['state'] {
  if (replicas.length === 0) return 'no_replicas'
  return replicas.every(({ state }) => state === 'confirmed') ? 'confirmed' : 'unconfirmed'
}

function idOf({ keyId, replica }: { readonly keyId: string; readonly replica: string }): string {
  return `${keyId} ${replica}`
}

/** It was there before the stop, and had neither left nor been silent for long. */
function isConcerned({ firstSeenAtMs, lastSeenAtMs, leftAtMs }: ReplicaRecord, stopAtMs: number): boolean {
  if (leftAtMs !== null && leftAtMs < stopAtMs) return false
  return firstSeenAtMs <= stopAtMs && lastSeenAtMs >= stopAtMs - CONCERNED_MS
}

const NO_ACK = {
  toldAtMs: null,
  receivedAtMs: null,
  settledAtMs: null,
  aborted: 0,
  finished: 0,
  unknown: 0,
  running: 0,
  calls: [],
}

function stopReplica(known: {
  readonly name: string
  readonly replica: ReplicaRecord | undefined
  readonly ack: StopAckRecord | undefined
  /** Since the stop, of a device that it hits. */
  readonly denied: ReplicaRecord['lastDenied']
}): StopReplica {
  const { name, replica, ack, denied } = known
  const { toldAtMs, receivedAtMs, settledAtMs, aborted, finished, unknown, running, calls } = ack ?? NO_ACK
  return {
    replica: name,
    state: stateOfReplica(ack, denied !== null),
    toldAt: isoOrNull(toldAtMs),
    receivedAt: isoOrNull(receivedAtMs),
    settledAt: isoOrNull(settledAtMs),
    lastDenied: denied && { at: new Date(denied.atMs).toISOString(), code: denied.code },
    lastSeenAt: isoOrNull(replica?.lastSeenAtMs ?? null),
    aborted,
    finished,
    unknown,
    running,
    calls: [...calls],
  }
}

function stateOfReplica(ack: StopAckRecord | undefined, isDenied: boolean): StopReplica['state'] {
  if (ack !== undefined && ack.settledAtMs !== null && ack.running === 0) return 'confirmed'
  if (ack !== undefined && (ack.receivedAtMs !== null || ack.settledAtMs !== null)) return 'acknowledged'
  if (isDenied) return 'denying'
  return ack === undefined ? 'silent' : 'told'
}
