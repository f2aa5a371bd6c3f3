import type { StopBody } from '../../machineid/wire-stops.ts'
import type { ControlPlaneStore } from '../store.ts'
import { CONCERNED_MS, confirmationOf } from './confirmation.ts'
import { inSlices } from './slices.ts'
import type { ReplicaRecord, StopAckRecord, StopRecord } from './stop-store.ts'

/** A page ends with the stop that brings it there: one alone may concern ten thousand replicas. */
const MAX_ROWS = 10_000
const SHOWN_DEVICES = 100

interface StopPage {
  readonly stops: readonly StopBody[]
  /** The epoch of the last one, when there are more. */
  readonly nextBefore: number | undefined
}

/** Stops, newest first, each with what is known of the replicas that it concerns. */
export async function readStops(
  { store, turn }: { readonly store: ControlPlaneStore; readonly turn: () => Promise<void> },
  orgId: string,
  page: {
    readonly epoch?: number | undefined
    readonly beforeEpoch?: number | undefined
    readonly limit: number
  },
): Promise<StopPage> {
  // One more than the page, to know whether there is a next one.
  const found = await store.listStops(orgId, { ...page, limit: page.limit + 1 })
  const epochs = [...Map.groupBy(found, ({ epoch }) => epoch).values()]
  const wanted = epochs.slice(0, page.limit)
  const oldestMs = Math.min(...found.map(({ atMs }) => atMs))
  const replicas =
    wanted.length === 0
      ? []
      : await inSlices<ReplicaRecord>(turn, (slice) =>
          store.listReplicas(orgId, oldestMs - CONCERNED_MS, slice),
        )
  const stops: StopBody[] = []
  let rows = 0
  for (const records of wanted) {
    if (rows > MAX_ROWS) break
    const epoch = records[0]?.epoch ?? 0
    const acks = await inSlices<StopAckRecord>(turn, (slice) => store.listStopAcks(orgId, epoch, slice))
    const stop = { ...about(records), ...confirmationOf(records, replicas, acks) }
    rows += replicas.length + stop.replicas.length
    stops.push(stop)
  }
  return { stops, nextBefore: stops.length < epochs.length ? stops.at(-1)?.epoch : undefined }
}

function about(records: readonly StopRecord[]): Omit<StopBody, 'state' | 'replicas'> {
  const [first] = records as readonly [StopRecord]
  const { epoch, action, pattern, keyId, by, reason, atMs } = first
  const deviceIds = records.flatMap(({ deviceId }) => deviceId ?? [])
  return {
    epoch,
    action,
    deviceIds: deviceIds.slice(0, SHOWN_DEVICES),
    deviceCount: deviceIds.length,
    pattern,
    keyId,
    by,
    reason,
    at: new Date(atMs).toISOString(),
  }
}
