import type { ApprovalBinding } from './run-store.ts'

/** A call that waits for a person, as a desk shows it. */
export interface ApprovalRequest extends ApprovalBinding {
  readonly approvalId: string
  readonly runId: string
  readonly agent: string
  readonly caller: string
  /** The arguments that will run, parsed and with their defaults. */
  readonly arguments: unknown
  /** ISO 8601. */
  readonly expiresAt: string
}

export interface DeskVerdict {
  readonly approvalId: string
  readonly approve: boolean
  /** With a decline: what the model is told. */
  readonly message?: string | undefined
  /** Who decided, as the desk has authenticated them. */
  readonly by: string
}

/**
 * Where people decide. The tool server itself is one (`POST /runs/:id/decisions`), and another can stand beside it.
 * Verdicts count only for approvals that wait in the run store, which stays the one place where an approval is used.
 */
export interface ApprovalDesk {
  /** Shows calls that wait. Asking again for the same id changes nothing. */
  ask(requests: readonly ApprovalRequest[]): Promise<void>
  /** What was decided on these approvals so far. Asked before each resume. */
  verdictsOn(approvalIds: readonly string[]): Promise<readonly DeskVerdict[]>
  /** These no longer wait. */
  withdraw(approvalIds: readonly string[]): Promise<void>
}
