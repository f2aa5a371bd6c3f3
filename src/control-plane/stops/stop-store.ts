import type { StopAckBody } from '../../machineid/wire-stops.ts'
import type { KeyKind } from '../../machineid/wire.ts'

// What the stream of stops needs of a store. What a stop is stands in the audit, and nowhere else.

/** The actions of the audit that are stops, when they raise the epoch: a rotation without overlap burns a key too. */
export const STOP_ACTIONS = [
  'device.revoke',
  'device.remove',
  'lock.add',
  'org.disable',
  'key.burn',
  'key.rotate',
] as const

/** One row of the audit that is a stop. The devices of one batch share an epoch. */
export interface StopRecord {
  readonly orgId: string
  readonly epoch: number
  readonly action: string
  readonly deviceId: string | null
  /** Of a lock. */
  readonly pattern: string | null
  /** Of the key that was burned. */
  readonly keyId: string | null
  /** For example `stop:mfzwizltoq2gc3tu`. */
  readonly by: string
  readonly reason: string | null
  readonly atMs: number
}

/** Stands alone, so that it can live in a thread with its own connection. */
export interface StopReader {
  /** Those after an epoch, oldest first; of one epoch all or none, so there may be more than `limit`. */
  since(
    orgId: string,
    afterEpoch: number,
    limit: number,
  ): readonly StopRecord[] | Promise<readonly StopRecord[]>
}

/** A process that listens, or did. Keyed by org, key and name. */
export interface ReplicaRecord {
  readonly orgId: string
  readonly keyId: string
  readonly keyKind: KeyKind
  readonly replica: string
  readonly devices: readonly { readonly deviceId: string; readonly inFlight: number }[]
  readonly streamUp: boolean
  /** A stop from before it was there is no concern of its. */
  readonly firstSeenAtMs: number
  readonly lastSeenAtMs: number
  /** It said that it leaves: nobody waits for word from it. */
  readonly leftAtMs: number | null
  readonly timeoutMs: number | null
  readonly latencyMs: { readonly p50: number; readonly p99: number } | null
  /** Noted with the decisions that are stored. */
  readonly lastDenied: { readonly atMs: number; readonly deviceId: string; readonly code: string } | null
}

/** What one replica is known to have made of one stop. */
export interface StopAckRecord {
  readonly orgId: string
  readonly epoch: number
  readonly keyId: string
  readonly replica: string
  readonly toldAtMs: number | null
  readonly receivedAtMs: number | null
  readonly settledAtMs: number | null
  readonly aborted: number
  readonly finished: number
  readonly unknown: number
  readonly running: number
  readonly calls: NonNullable<StopAckBody['calls']>
}

interface OfReplica {
  readonly orgId: string
  readonly keyId: string
  readonly replica: string
  readonly atMs: number
}

/** What was observed since the last batch. Each is an upsert; a late one changes nothing that is newer. */
export interface StopEvidence {
  readonly seen: readonly (OfReplica & {
    readonly keyKind: KeyKind
    /** Undefined: as before. */
    readonly streamUp?: boolean | undefined
    readonly leaving?: boolean | undefined
    readonly devices?: ReplicaRecord['devices'] | undefined
    readonly timeoutMs?: number | undefined
    readonly latencyMs?: ReplicaRecord['latencyMs'] | undefined
  })[]
  readonly told: readonly (OfReplica & { readonly epoch: number })[]
  readonly acks: readonly (OfReplica & { readonly ack: StopAckBody })[]
}

/** A device that a stop took away. */
export interface StopDevice {
  /** Of its row in the audit. */
  readonly seq: number
  readonly deviceId: string
  /** Before the stop. */
  readonly wasRevoked: boolean
  /** Undefined when there is no record of it any more. */
  readonly now: { readonly revoked: boolean; readonly removed: boolean; readonly epoch: number } | undefined
}

export interface StopStore {
  readonly stops: StopReader
  /** Newest first: the stops of up to `limit` epochs, whole, from the first below `beforeEpoch`; or those of `epoch`. */
  listStops(
    orgId: string,
    page: {
      readonly epoch?: number | undefined
      readonly beforeEpoch?: number | undefined
      readonly limit: number
    },
  ): Promise<readonly StopRecord[]>
  /** The devices of one stop, and what each is now; in the order of the chain, from the first after `after` (a `seq`). */
  listStopDevices(
    orgId: string,
    epoch: number,
    page: { readonly after: number; readonly limit: number },
  ): Promise<readonly StopDevice[]>
  /** Those of `epochs` that are stops. */
  knownStops(orgId: string, epochs: readonly number[]): Promise<ReadonlySet<number>>
  /** One transaction. */
  recordStopEvidence(evidence: StopEvidence): Promise<void>
  /** Those with a sign of life since `seenSinceMs`, also those that left; by key and name, from the first after `after`. */
  listReplicas(
    orgId: string,
    seenSinceMs: number,
    page?: {
      readonly after?: Pick<ReplicaRecord, 'keyId' | 'replica'> | undefined
      readonly limit?: number | undefined
    },
  ): Promise<readonly ReplicaRecord[]>
  /** Of one stop; in the same order, and the same way. */
  listStopAcks(
    orgId: string,
    epoch: number,
    page?: {
      readonly after?: Pick<StopAckRecord, 'keyId' | 'replica'> | undefined
      readonly limit?: number | undefined
    },
  ): Promise<readonly StopAckRecord[]>
  /**
   * At the start and at the end of a control plane no stream is open here, nor on a node that is gone, whatever was noted
   * before. `gone`: only those.
   */
  closeStreams(of?: 'gone'): Promise<void>
  /** Deletes up to `limit` replicas and acks with no sign of life since; answers how many. */
  pruneStopEvidence(beforeMs: number, limit: number): Promise<number>
  /** How the store is set up, as it says itself. */
  durability(): Promise<SqliteDurability | PostgresDurability>
}

export interface SqliteDurability {
  readonly kind: 'sqlite'
  readonly version: string
  readonly journalMode: string
  readonly synchronous: string
}

export interface PostgresDurability {
  readonly kind: 'postgres'
  readonly version: string
  readonly fsync: string
  readonly fullPageWrites: string
  /** Of our connections. */
  readonly synchronousCommit: string
  /** Empty: commits wait for no other server. */
  readonly synchronousStandbyNames: string
  /** How many commits wait for now; null when that may not be seen. */
  readonly synchronousStandbys: number | null
  readonly consistency: 'primary' | 'quorum'
  /**
   * Which guarantees hold when a standby is promoted. `promotion`: when one is promoted that has confirmed every commit,
   * since not all have to. `fencing`: when g5 does, and the old primary is fenced off.
   */
  readonly failover: {
    readonly g1: 'holds' | 'fencing' | 'no'
    readonly g5: 'holds' | 'promotion' | 'no'
  }
}
