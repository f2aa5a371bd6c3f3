import type { HoldpointError } from '../errors.ts'
import type { KeyKind, PlanTier } from '../machineid/wire.ts'

// What the control plane needs of a store. One contract suite, test/contract/control-plane-store.ts, speaks for
// every implementation. Times are wall-clock milliseconds of the control plane.

export type PlanState = 'active' | 'frozen' | 'unpaid'

export interface OrgRecord {
  readonly orgId: string
  /** `generation × 2³² + counter`. Raised by each stop and each restore, in their transaction, by nothing else. */
  readonly epoch: number
  readonly disabled: boolean
  /** The epoch of the last disable or enable; 0 when there was none. `by` is a key id. */
  readonly orgSwitch: {
    readonly epoch: number
    readonly by: string | null
    readonly reason: string | null
    readonly atMs: number | null
  }
  readonly planTier: PlanTier
  readonly planState: PlanState
  readonly cap: number
  /** Slots taken. A revoked device keeps its slot. */
  readonly used: number
}

export interface DeviceRecord {
  readonly deviceId: string
  readonly revoked: boolean
  /** A tombstone: it has no slot, and keeps its revoked flag. */
  readonly removed: boolean
  readonly slot: number | null
  /** The epoch of its own last stop or restore; 0 when there was none. `ifEpoch` is compared with it. */
  readonly epoch: number
  readonly reason: string | null
  readonly labels: Readonly<Record<string, string>>
  readonly createdAtMs: number
  readonly changedAtMs: number
}

export interface KeyRecord {
  /** The part of the key it is found by. Not a secret. */
  readonly keyId: string
  readonly orgId: string
  readonly kind: KeyKind
  /** SHA-256 of the whole key, in hex. */
  readonly digest: string
  /** Device IDs or patterns a runtime key is bound to; null when it may speak for every device. */
  readonly bindings: readonly string[] | null
}

/** Who did what, why, and what it changed. Committed with the change. */
export interface AuditEntry {
  readonly id: string
  readonly atMs: number
  /** A key id, `platform`, or `local` for what this process did itself. */
  readonly actor: string
  /** The kind of that key, and the request that asked: for the log line, not stored. */
  readonly actorKind?: string | undefined
  readonly requestId?: string | undefined
  readonly action: string
  readonly deviceId?: string | undefined
  readonly reason?: string | undefined
  readonly before?: unknown
  readonly after?: unknown
}

/** What one transaction reads before it decides. */
export interface DeviceSnapshot {
  readonly org: OrgRecord
  readonly device: DeviceRecord | undefined
  readonly lowestFreeSlot: number
}

/** What a transaction writes, and what its caller is told once it is committed. Absent records stay as they are. */
export interface Change<T> {
  readonly result: T
  readonly org?: OrgRecord
  readonly device?: DeviceRecord
  /** New ones. */
  readonly keys?: readonly KeyRecord[]
  readonly ownerEmail?: string | undefined
  readonly audit?: AuditEntry
}

/** One denied device of one question (G8). */
export interface DenialRecord {
  /** UUIDv7. The devices of one question share it. */
  readonly requestId: string
  /** The device's place in the question, from 0. */
  readonly ordinal: number
  readonly orgId: string
  readonly keyId: string
  readonly deviceId: string
  readonly code: string
  readonly asked: 'validate' | 'register'
  readonly boundary: string | null
  readonly tool: string | null
  readonly callId: string | null
  readonly runId: string | null
  readonly replica: string | null
  readonly atMs: number
}

export interface DeviceState {
  readonly revoked: boolean
  readonly removed: boolean
  readonly slot: number | null
  readonly epoch: number
}

/** One snapshot, read by one statement: the key, its org and plan, and the devices in the order they were asked. */
export interface DecisionSnapshot {
  readonly key: KeyRecord
  readonly orgEpoch: number
  readonly orgDisabled: boolean
  readonly planState: string
  readonly cap: number
  readonly devices: readonly (DeviceState | undefined)[]
}

/** The read side of a validate. Stands alone, so that it can live in a thread with its own connection. */
export interface DecisionReader {
  /** Fresh from the store every time (G2). Undefined when no key has this id. */
  read(
    keyId: string,
    deviceIds: readonly string[],
  ): DecisionSnapshot | undefined | Promise<DecisionSnapshot | undefined>
}

/**
 * Every change is one transaction: read a snapshot, let `decide` answer from it, write, commit. `decide` is
 * synchronous and has no effects; when it throws, nothing is written. The promise resolves only after COMMIT has
 * returned (G5).
 */
export interface ControlPlaneStore {
  readonly reader: DecisionReader
  /** Grows when a backup is opened; part of every epoch. */
  readonly generation: number
  /** `decide` gets undefined when there is no such org, and may then answer with one. */
  changeOrg<T>(orgId: string, decide: (org: OrgRecord | undefined) => Change<T>): Promise<T>
  /** `decide` gets undefined when there is no such org. */
  changeDevice<T>(
    orgId: string,
    deviceId: string,
    decide: (snapshot: DeviceSnapshot | undefined) => Change<T>,
  ): Promise<T>
  findKey(keyId: string): Promise<KeyRecord | undefined>
  countOrgs(): Promise<number>
  /** The org and how many of its devices are revoked. */
  findUsage(orgId: string): Promise<{ readonly org: OrgRecord; readonly revoked: number } | undefined>
  /** Without tombstones, in the byte order of their IDs, from the first after `after`. */
  listDevices(
    orgId: string,
    page: { readonly after?: string | undefined; readonly limit?: number | undefined },
  ): Promise<{ readonly org: OrgRecord; readonly devices: readonly DeviceRecord[] } | undefined>
  recordDenials(denials: readonly DenialRecord[]): Promise<void>
  findDenials(requestId: string): Promise<readonly DenialRecord[]>
  /** Why nothing more may be acknowledged, or undefined while all is well. Never heals: open it anew. */
  problem(): HoldpointError | undefined
  close(): Promise<void>
}
