import type { ApprovalBinding } from './run-store.ts'

/** A call that waits for a person, as a desk shows it. */
export interface ApprovalRequest extends ApprovalBinding {
  readonly approvalId: string
  readonly runId: string
  readonly agent: string
  readonly caller: string
  /** What the call's hold points will ask for: the device of this server, then that of the surface, if it has one. */
  readonly deviceIds: readonly string[]
  /** The arguments that will run, parsed and with their defaults. Undefined when they do not open. */
  readonly arguments: unknown
  /** ISO 8601. */
  readonly expiresAt: string
}

/** What a person sees of a call beside its arguments; its texts as `redact` leaves them. */
export type ShownCall = Omit<ApprovalBinding, 'digest'> & Pick<ApprovalRequest, 'runId' | 'agent' | 'caller'>

/** What a person decided at a desk. */
export interface DeskVerdict {
  readonly approvalId: string
  /** Of the arguments that were decided on. One that is not that of the call which waits decides nothing. */
  readonly digest: string
  /** The rest of what was decided on, where the desk tells it. Anything else than the call which waits: decides nothing. */
  readonly shown?: ShownCall | undefined
  readonly approve: boolean
  /** With a decline: what the model is told. */
  readonly message?: string | undefined
  /** Who decided, as the desk has authenticated them. It is recorded as `desk:…`. */
  readonly by: string
}

/** A call that a desk shows as waiting, of this tool server or of another. */
export interface ShownApproval {
  readonly approvalId: string
  readonly runId: string
}

/**
 * Where people decide. The tool server itself is one (`POST /runs/:id/decisions`), and another can stand beside it.
 * Verdicts count only for approvals that wait in the run store, which stays the one place where an approval is used. A
 * method that rejects has decided nothing, and is called again.
 */
export interface ApprovalDesk {
  /** Shows calls that wait. Asking again for the same id changes nothing. */
  ask(requests: readonly ApprovalRequest[]): Promise<void>
  /** What was decided on these approvals so far. Asked every 2 s while calls wait, and before each resume. */
  verdictsOn(approvalIds: readonly string[]): Promise<readonly DeskVerdict[]>
  /** These no longer wait. */
  withdraw(approvalIds: readonly string[]): Promise<void>
  /** What it shows. With it, what no longer waits is taken back also when that failed before, or the server was restarted. */
  waiting?(): Promise<readonly ShownApproval[]>
}
