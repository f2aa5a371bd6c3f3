import type { KeyKind, PlanTier } from '../machineid/wire.ts'

// What the store keeps, as the rest of the control plane sees it. Times are wall-clock milliseconds of the control
// plane.

/** `canceled` keeps its cap until `accessUntilMs`; only `frozen` and `unpaid` deny. */
export type PlanState = 'active' | 'canceled' | 'frozen' | 'unpaid'

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
  /** When a canceled plan ends; null for every other. */
  readonly accessUntilMs: number | null
  readonly cap: number
  /** Slots taken. A revoked device keeps its slot. */
  readonly used: number
  /** How many locks are held. A validate looks for them only when there are any. */
  readonly activeLocks: number
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
  /** From when on its stop counts as overdue. Never restores anything. */
  readonly remindAtMs: number | null
  readonly labels: Readonly<Record<string, string>>
  readonly createdAtMs: number
  readonly changedAtMs: number
}

/** Stops every device that matches `pattern`, those to come too, until it is released. */
export interface LockRecord {
  readonly lockId: string
  readonly pattern: string
  readonly active: boolean
  /** The epoch of its own last change: what the `ifEpoch` of a release is compared with. */
  readonly epoch: number
  readonly reason: string
  /** A key id. */
  readonly by: string
  readonly remindAtMs: number | null
  readonly createdAtMs: number
  readonly changedAtMs: number
}

export interface KeyRecord {
  /** The part of the key it is found by. Not a secret. */
  readonly keyId: string
  readonly orgId: string
  readonly kind: KeyKind
  readonly name: string | null
  /** SHA-256 of the whole key, in hex. */
  readonly digest: string
  /** Device IDs or patterns a runtime key is bound to; null when it may speak for every device. */
  readonly bindings: readonly string[] | null
  readonly createdAtMs: number
  /** A key id, `platform`, `local`, or `recovery`. */
  readonly createdBy: string
  /** Rotated: it works until then. */
  readonly endsAtMs: number | null
  /** When it ended for good. A one-way latch: no clock brings it back. */
  readonly endedAtMs: number | null
  readonly endedAs: 'burned' | 'expired' | null
  /** The key that took its place. */
  readonly replacedBy: string | null
}

/** One link mailed to one owner. */
export interface RecoveryLinkRecord {
  /** SHA-256 of `<generation>:<token>`, in hex: a restored backup's links are dead. */
  readonly digest: string
  readonly orgId: string
  readonly email: string
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly usedAtMs: number | null
}

/** Who did what, why, from where, and what it changed. Committed with the change. */
export interface AuditEntry {
  /** UUIDv7. */
  readonly id: string
  readonly atMs: number
  /** A key id, `platform`, `recovery`, or `local` for what this process did itself. */
  readonly actor: string
  /** The kind of that key. */
  readonly actorKind: string | null
  /** The request that asked; null for what no request asked for. */
  readonly requestId: string | null
  /** The address the request came from. */
  readonly origin: string | null
  /** For example `device.revoke`. */
  readonly action: string
  readonly deviceId: string | null
  readonly reason: string | null
  /** JSON values. Never a key, a token or a digest of one. */
  readonly before: unknown
  readonly after: unknown
}

/** An entry in its org's chain: `seq` counts from 1, `hash` covers the entry, its org, `seq` and `prevHash`. */
export interface AuditRow extends AuditEntry {
  readonly orgId: string
  readonly seq: number
  readonly prevHash: string
  readonly hash: string
}

/** One device of one question, and what it was told (G8). */
export interface DecisionRecord {
  /** UUIDv7. The devices of one question share it. */
  readonly requestId: string
  /** The device's place in the question, from 0. */
  readonly ordinal: number
  readonly orgId: string
  readonly keyId: string
  readonly deviceId: string
  /** `ALLOW`, or why not. */
  readonly code: string
  readonly asked: 'validate' | 'register'
  readonly boundary: string | null
  readonly tool: string | null
  readonly callId: string | null
  readonly runId: string | null
  readonly replica: string | null
  readonly atMs: number
}

/** What a device was last told. Kept apart from its own row, which only changes write. */
export interface LastSeen {
  readonly atMs: number
  readonly code: string
  readonly keyId: string
}
