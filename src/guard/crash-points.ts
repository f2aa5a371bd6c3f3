/**
 * Instants at which a process may die, in the order in which a paused run passes them. Named here, so that a test can
 * kill a real process at each of them: `GuardOptions.atCrashPoint`, and the same option of the stores.
 */
export const CRASH_POINTS = [
  /** The run is stored, nothing of it has begun. */
  'run.created',
  /** This process is the one that runs it. */
  'run.claimed',
  /** A queued run may begin (`task`), but has not. */
  'run.picked',
  /** `resume` was allowed; the state has not been read. */
  'run.resume_allowed',
  /** The state is read, nobody's approval is in it yet. */
  'run.state_opened',
  /** The approvals of the store are in it; the next instant it runs. */
  'run.approvals_applied',
  /** `tool` was allowed, the body has not started. */
  'call.allowed',
  /** The intent is written and its approval used, in a transaction that has not been committed. */
  'effect.intent_writing',
  /** The intent is durable. */
  'effect.intent_stored',
  /** `side_effect` was allowed: the effect starts in this tick. */
  'effect.allowed',
  /** The effect has happened, the journal does not know. */
  'effect.performed',
  /** The outcome is durable. */
  'effect.outcome_stored',
  /** The SDK is about to get the tool's answer. */
  'call.answered',
  /** The run has paused or ended, and its state is sealed but not stored. */
  'run.state_sealed',
  /** State and approvals are written, in a transaction that has not been committed. */
  'run.saving',
  /** The state is durable. */
  'run.saved',
  /** A person's decision is written, in a transaction that has not been committed. */
  'approval.deciding',
  /** A person's decision is durable. */
  'approval.decided',
] as const

export type CrashPoint = (typeof CRASH_POINTS)[number]

/** Told synchronously of each crash point that is reached. Only tests give one. */
export type AtCrashPoint = (point: CrashPoint) => void
