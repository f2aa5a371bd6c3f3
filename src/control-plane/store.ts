import type { HoldpointError } from '../errors.ts'
import type { ApprovalCounts, ApprovalRecord, ApprovalStore } from './approvals/approval-store.ts'
import type { DrillStore } from './drills/drill-store.ts'
import type {
  AuditEntry,
  AuditRow,
  DecisionRecord,
  DeviceRecord,
  KeyRecord,
  LastSeen,
  LockRecord,
  OrgRecord,
  RecoveryLinkRecord,
} from './records.ts'
import type { SharedStore } from './nodes/shared-store.ts'
import type { RunReportStore } from './runs/run-report-store.ts'
import type { SessionRecord, SessionStore } from './sessions/session-store.ts'
import type { StopStore } from './stops/stop-store.ts'

// What the control plane needs of a store. One contract suite, test/contract/control-plane-store.ts, speaks for
// every implementation.

/** Some devices of an org. Tombstones are among them only when they are asked for by ID. */
export type DeviceSelection =
  | { readonly ids: readonly string[] }
  | { readonly pattern: string }
  | { readonly label: { readonly name: string; readonly value: string } }
  /** Those that a plan of `slotAbove` devices has no room for. */
  | { readonly slotAbove: number }
  /** Those that this key was the last to ask for. */
  | { readonly lastSeenBy: string }
  | { readonly all: true }

/** What a transaction reads before it decides. What is not asked for comes back empty. */
export interface Wanted {
  /** The key that asks: it may have been burned since it was looked up. */
  readonly callerKeyId?: string | undefined
  /** And the session it asks in, for the same reason. */
  readonly callerSessionId?: string | undefined
  /** It goes before other changes of the org that wait for their turn. */
  readonly isStop?: boolean | undefined
  readonly devices?: DeviceSelection | undefined
  /** The most devices to read, in the byte order of their IDs. Default: all of them. */
  readonly deviceLimit?: number | undefined
  readonly freeSlot?: boolean | undefined
  readonly lock?: { readonly lockId: string } | { readonly activePattern: string } | undefined
  readonly keyId?: string | undefined
  readonly owners?: boolean | undefined
  /** The digest of a recovery link. */
  readonly link?: string | undefined
  readonly sessions?: boolean | undefined
  /** By ID. */
  readonly approvals?: readonly string[] | undefined
  /** How full the desk is, for a key that asks. */
  readonly approvalCounts?: boolean | undefined
}

export interface OrgSnapshot {
  readonly org: OrgRecord
  readonly callerKey: KeyRecord | undefined
  readonly callerSession: SessionRecord | undefined
  /** In the order of the IDs that were asked for (those that exist), else in byte order. */
  readonly devices: readonly DeviceRecord[]
  /** How many there are without the limit. */
  readonly deviceCount: number
  /** Which of the devices that were read or asked for by ID an active lock matches. */
  readonly lockedDevices: ReadonlySet<string>
  readonly lowestFreeSlot: number | undefined
  readonly lock: LockRecord | undefined
  readonly key: KeyRecord | undefined
  readonly owners: readonly string[]
  readonly link: RecoveryLinkRecord | undefined
  /** Those that are not ended, oldest first. */
  readonly sessions: readonly SessionRecord[]
  /** Those that exist. */
  readonly approvals: readonly ApprovalRecord[]
  readonly approvalCounts: ApprovalCounts | undefined
}

/** What a transaction writes, and what its caller is told once it is committed. Absent records stay as they are. */
export interface Change<T> {
  readonly result: T
  readonly org?: OrgRecord | undefined
  readonly devices?: readonly DeviceRecord[] | undefined
  readonly locks?: readonly LockRecord[] | undefined
  readonly keys?: readonly KeyRecord[] | undefined
  readonly links?: readonly RecoveryLinkRecord[] | undefined
  readonly sessions?: readonly SessionRecord[] | undefined
  readonly approvals?: readonly ApprovalRecord[] | undefined
  /** Of those that expired or were withdrawn, only so many of the newest are kept. */
  readonly keepSpareApprovals?: number | undefined
  readonly addOwners?: readonly string[] | undefined
  readonly removeOwners?: readonly string[] | undefined
  /** Chained in this order. */
  readonly audit?: readonly AuditEntry[] | undefined
}

/** What COMMIT has made durable. */
export interface Committed<T> {
  readonly result: T
  /** The audit rows of the change, with their place in the chain. */
  readonly audit: readonly AuditRow[]
}

export interface DeviceState {
  readonly revoked: boolean
  readonly removed: boolean
  readonly slot: number | null
  readonly epoch: number
  /** An active lock matches it. */
  readonly locked: boolean
}

/** One snapshot, read by one statement: the key, its org and plan, and the devices in the order they were asked. */
export interface DecisionSnapshot {
  readonly key: Pick<
    KeyRecord,
    'keyId' | 'orgId' | 'kind' | 'digest' | 'bindings' | 'endsAtMs' | 'endedAtMs' | 'endedAs'
  >
  readonly orgEpoch: number
  readonly orgDisabled: boolean
  readonly planState: string
  readonly accessUntilMs: number | null
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

/** What the lanes saw since the last batch. */
export interface DecisionBatch {
  readonly decisions: readonly DecisionRecord[]
  /** When each key was last used, by key id. */
  readonly keysUsed: ReadonlyMap<string, number>
  /** What each device was last told, by org and device ID. */
  readonly devicesSeen: ReadonlyMap<string, ReadonlyMap<string, LastSeen>>
}

export interface DecisionFilter {
  readonly requestId?: string | undefined
  /** A device ID or pattern. */
  readonly device?: string | undefined
  readonly code?: string | undefined
  readonly boundary?: string | undefined
  /** Only allows, or only denials. */
  readonly allowed?: boolean | undefined
  /** Wall-clock milliseconds, the first included. */
  readonly fromMs?: number | undefined
  readonly toMs?: number | undefined
}

/** What rows of the audit are looked for; all that are given must fit. */
export interface AuditFilter {
  /** An action, or the part of it before the dot. */
  readonly action?: string | undefined
  /** A device ID or pattern. A lock fits when either covers the other. */
  readonly device?: string | undefined
  readonly actor?: string | undefined
  /** Wall-clock milliseconds, the first included. */
  readonly fromMs?: number | undefined
  readonly toMs?: number | undefined
}

/** A stop whose reminder is due: a revoked device or a lock. */
export interface OverdueStop {
  readonly orgId: string
  readonly deviceId: string | undefined
  readonly lock: LockRecord | undefined
  readonly reason: string | null
  readonly epoch: number
  readonly remindAtMs: number
}

export interface UsageCounts {
  readonly org: OrgRecord
  /** Without tombstones. */
  readonly revoked: number
  /** Devices and locks whose reminder has passed at `nowMs`. */
  readonly overdue: number
}

/**
 * Every change is one transaction: read a snapshot, let `decide` answer from it, write, commit. `decide` is
 * synchronous and has no effects; when it throws, nothing is written. The promise resolves only after COMMIT has
 * returned (G5).
 */
export interface ControlPlaneStore
  extends StopStore, DrillStore, SessionStore, ApprovalStore, RunReportStore {
  readonly reader: DecisionReader
  /** Of a store that several nodes use at once. */
  readonly shared?: SharedStore | undefined
  /** Grows when a backup is opened; part of every epoch. */
  readonly generation: number
  /** `decide` gets undefined when there is no such org, and may then answer with one. */
  change<T>(
    orgId: string,
    wanted: Wanted,
    decide: (snapshot: OrgSnapshot | undefined) => Change<T>,
  ): Promise<Committed<T>>

  findKey(keyId: string): Promise<KeyRecord | undefined>
  /** Oldest first, ended ones too, with when each was last used. */
  listKeys(orgId: string): Promise<readonly (KeyRecord & { readonly lastUsedAtMs: number | null })[]>
  countOrgs(): Promise<number>
  /** Their ids in byte order, from the first after `after`. */
  listOrgs(page: { readonly after: string; readonly limit: number }): Promise<readonly string[]>
  findUsage(orgId: string, nowMs: number): Promise<UsageCounts | undefined>
  /** Without tombstones, in the byte order of their IDs, from the first after `after`. */
  listDevices(
    orgId: string,
    page: { readonly after?: string | undefined; readonly limit?: number | undefined },
  ): Promise<
    | {
        readonly org: OrgRecord
        readonly devices: readonly (DeviceRecord & {
          readonly locked: boolean
          readonly lastSeen: LastSeen | undefined
        })[]
      }
    | undefined
  >
  /** Oldest first; only the active ones unless `all`. */
  listLocks(orgId: string, options: { readonly all: boolean }): Promise<readonly LockRecord[]>
  /** The active locks that match a device. */
  locksOn(orgId: string, deviceId: string): Promise<readonly LockRecord[]>
  /** In byte order. */
  listOwners(orgId: string): Promise<readonly string[]>
  findOrgsOwnedBy(email: string): Promise<readonly string[]>
  findLink(digest: string): Promise<RecoveryLinkRecord | undefined>

  /** In the order of the chain, from the first after `after` (a `seq`). */
  listAudit(
    orgId: string,
    page: { readonly after: number; readonly limit: number },
  ): Promise<readonly AuditRow[]>
  /** What fits of the next `limit` rows after `from` (a `seq`), or newest first before it. `lookedTo`: the last of them, null at the end. */
  searchAudit(
    orgId: string,
    filter: AuditFilter,
    page: { readonly order: 'oldest' | 'newest'; readonly from: number; readonly limit: number },
  ): Promise<{ readonly rows: readonly AuditRow[]; readonly lookedTo: number | null }>
  /** The last row of the chain, to be noted. */
  auditHead(orgId: string): Promise<Pick<AuditRow, 'seq' | 'hash'> | undefined>
  /** The newest row of one of `actions`, about `deviceId` or, without it, about no device, no later than `untilMs`. */
  findAudit(
    orgId: string,
    wanted: {
      readonly actions: readonly string[]
      readonly deviceId?: string | undefined
      readonly untilMs: number
      /** Only rows that stand before this `seq` in the chain. */
      readonly beforeSeq?: number | undefined
    },
  ): Promise<AuditRow | undefined>

  recordDecisions(batch: DecisionBatch): Promise<void>
  /** Newest first, from the first that is older than `before` (a request id). */
  listDecisions(
    orgId: string,
    filter: DecisionFilter,
    page: { readonly before?: string | undefined; readonly limit: number },
  ): Promise<readonly DecisionRecord[]>
  /** Deletes up to `limit` decisions older than `beforeMs`; answers how many. */
  pruneDecisions(beforeMs: number, limit: number): Promise<number>
  /** Deletes up to `limit` recovery links that expired before `beforeMs`; answers how many. */
  pruneLinks(beforeMs: number, limit: number): Promise<number>

  /** Orgs whose canceled plan has ended. */
  plansEnded(nowMs: number): Promise<readonly string[]>
  /** Keys whose overlap has passed and that are not latched yet. */
  keysEnded(nowMs: number): Promise<readonly KeyRecord[]>
  /** Stops that became overdue after `afterMs`, up to and including `untilMs`. */
  stopsOverdue(afterMs: number, untilMs: number): Promise<readonly OverdueStop[]>

  /** Why nothing more may be acknowledged, or undefined while all is well. Never heals: open it anew. */
  problem(): HoldpointError | undefined
  close(): Promise<void>
}
