/** Where a hold point stands: what would begin if the authority said yes. */
export const BOUNDARIES = ['startup', 'task', 'tool', 'side_effect', 'resume'] as const
/** The kind of a hold point: `startup`, `task`, `tool`, `side_effect` or `resume`. */
export type Boundary = (typeof BOUNDARIES)[number]

/** Denials that are decided on our side of the wire. Codes of the authority itself are passed through as they are. */
export const LOCAL_DENIAL_CODES = [
  'AUTHORITY_TIMEOUT',
  'AUTHORITY_UNREACHABLE',
  'AUTHORITY_TLS',
  'AUTHORITY_REDIRECT',
  'AUTHORITY_BAD_STATUS',
  'AUTHORITY_UNAUTHORIZED',
  'AUTHORITY_RATE_LIMITED',
  'AUTHORITY_BAD_CONTENT_TYPE',
  'AUTHORITY_BAD_ENCODING',
  'AUTHORITY_BODY_TOO_LARGE',
  'AUTHORITY_TRUNCATED',
  'AUTHORITY_BAD_BODY',
  'AUTHORITY_CONTRADICTION',
  'AUTHORITY_WRONG_DEVICE',
  'AUTHORITY_STALE_ANSWER',
  'AUTHORITY_CACHED',
  'AUTHORITY_ROLLBACK',
  'PERMIT_EXPIRED',
  'PERMIT_REUSED',
  'LATE_COMMIT',
  'NO_SESSION',
  'CALL_ID_REQUIRED',
  'JOURNAL_UNAVAILABLE',
  'CALL_ABORTED',
  'APPROVAL_REQUIRED',
  'APPROVAL_EXPIRED',
  'GUARD_MISCONFIGURED',
  'GUARD_NOT_STARTED',
  'GUARD_SHUTTING_DOWN',
  'GUARD_OVERLOADED',
  'STOP_PUSHED',
] as const

export type LocalDenialCode = (typeof LOCAL_DENIAL_CODES)[number]

/** A local code, or any code the authority gave, such as `DEVICE_REVOKED` or `ORG_DISABLED`. */
export type DenialCode = LocalDenialCode | (string & {})

interface DecisionBase {
  readonly boundary: Boundary
  /** With an allow the first device asked about; with a denial the first that was denied, in question order. */
  readonly deviceId: string
  /** Every device asked about, in question order: the server device first. */
  readonly deviceIds: readonly string[]
  /** The authority's id of this decision, or `local_<uuid>` where no usable answer came. */
  readonly requestId: string
  /** From boundary entry to the decision, in milliseconds. */
  readonly latencyMs: number
}

/** The authority said yes, to this question alone. */
export interface Allowed extends DecisionBase {
  readonly allowed: true
  readonly code: 'ALLOW'
  /** The org that decided. Absent with hosted MachineID, whose answers do not name it. */
  readonly orgId: string | undefined
  /** The org's epoch when it decided. A sink can fence with it. Absent with hosted MachineID. */
  readonly epoch: number | undefined
}

/** The authority said no, or gave no answer that counts. `code` says why. */
export interface Denied extends DecisionBase {
  readonly allowed: false
  readonly code: DenialCode
}

/** What a hold point answers. `code` says why only after `allowed` was looked at. */
export type Decision = Allowed | Denied

/** An id for a decision that no authority made. */
export function localRequestId(): string {
  return `local_${crypto.randomUUID()}`
}

/**
 * True when the code says that permission could not be asked for, rather than that it was refused:
 * the difference between HTTP 503 and 403, and between the two error words a model is told.
 */
export function isUnavailable(code: DenialCode): boolean {
  return code.startsWith('AUTHORITY_') || UNAVAILABLE_CODES.has(code)
}

const UNAVAILABLE_CODES = new Set<string>([
  'GUARD_NOT_STARTED',
  'GUARD_SHUTTING_DOWN',
  'GUARD_OVERLOADED',
  'JOURNAL_UNAVAILABLE',
])

/** What a guard makes a `Denied` of. */
export interface Denial {
  readonly code: DenialCode
  /** Default: a local one. */
  readonly requestId?: string
  /** Default: now. */
  readonly enteredAtMs?: number
  /** Default: the first device asked about. */
  readonly deviceId?: string | undefined
  readonly cause?: unknown
}
