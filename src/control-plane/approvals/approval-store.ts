import type { DeviceRecord, OrgRecord } from '../records.ts'
import type { APPROVAL_STATES } from '../../machineid/wire-approvals.ts'

// What the desk needs of a store beside `change`, which is the one way in which an approval is asked for, withdrawn or
// decided. An approval is no permit: nothing here is ever looked at by a validate.

export type ApprovalState = (typeof APPROVAL_STATES)[number]

/** One call that waits for a person, or did. Every state but `waiting` is final. */
export interface ApprovalRecord {
  readonly approvalId: string
  readonly runId: string
  readonly agent: string
  readonly caller: string
  readonly callId: string
  readonly tool: string
  readonly surface: string
  readonly deviceIds: readonly string[]
  /** SHA-256 of `argumentsJson`, in hex. */
  readonly digest: string
  readonly schemaDigest: string
  /** Canonical JSON. */
  readonly argumentsJson: string
  readonly askedAtMs: number
  /** The id of the key that brought it. */
  readonly askedBy: string
  readonly expiresAtMs: number
  readonly state: ApprovalState
  /** When it was decided or withdrawn, or for one that expired, when it did. Null while it waits. */
  readonly endedAtMs: number | null
  /** For example `operator:mfzwizltoq2gc3tu`. Null unless it was decided. */
  readonly decidedBy: string | null
  /** With a decline. */
  readonly message: string | null
}

/** Where a page ends: among those that wait by expiry, or among the others by when they were asked for. */
export interface ApprovalPlace {
  readonly waiting: boolean
  readonly atMs: number
  readonly approvalId: string
}

export interface ApprovalFilter {
  readonly state?: ApprovalState | undefined
  readonly runId?: string | undefined
  readonly ids?: readonly string[] | undefined
}

/** One snapshot. */
export interface ApprovalPage {
  readonly org: OrgRecord
  readonly approvals: readonly ApprovalRecord[]
  /** Null at the end. */
  readonly next: ApprovalPlace | null
  /** How many wait, of the whole org. */
  readonly waiting: number
  /** Those of the approvals' devices that exist, tombstones too. */
  readonly devices: readonly DeviceRecord[]
  /** Those of the approvals' devices that an active lock matches. */
  readonly lockedDevices: ReadonlySet<string>
}

/** How much of an org's desk is taken. */
export interface ApprovalCounts {
  readonly waiting: number
  /** Of those, what the asking key brought. */
  readonly waitingOfKey: number
}

export interface ApprovalStore {
  /**
   * Those that wait, first to expire first; then the others, newest first. Up to `limit`, and about `maxBytes` of
   * arguments, but never none. Undefined when there is no such org.
   */
  listApprovals(
    orgId: string,
    filter: ApprovalFilter,
    page: {
      readonly after?: ApprovalPlace | undefined
      readonly limit: number
      readonly maxBytes: number
    },
  ): Promise<ApprovalPage | undefined>
  /** Makes what waits and has expired at `nowMs` expired for good, up to `limit`; answers how many. */
  expireApprovals(nowMs: number, limit: number): Promise<number>
  /** Deletes up to `limit` that ended before `beforeMs`; answers how many. */
  pruneApprovals(beforeMs: number, limit: number): Promise<number>
}
