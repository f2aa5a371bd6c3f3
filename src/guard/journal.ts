/** `intent` is durable before the question is asked; the others are how it ended. */
export type EffectState = 'intent' | 'done' | 'failed' | 'denied' | 'unknown'

/** An effect that is about to be asked for, as the journal stores it first. */
export interface Intent {
  /** Org, caller, effect, then the business key or run, call and ordinal: see `effectKey`. */
  readonly key: string
  readonly effect: string
  readonly kind: string
  readonly tool: string
  /** Who called, as authenticated. */
  readonly caller: string
  readonly runId: string | undefined
  readonly callId: string
  /** SHA-256 of the canonical input: the same key with another digest is a conflict. */
  readonly inputDigest: string
  /** The input as JSON, redacted as the effect says. For people, and for retention. */
  readonly input: string | undefined
  /** The effect's own deadline. */
  readonly deadlineMs: number
  /** It can only happen through `settleWith`: without an outcome it surely has not. */
  readonly transactional?: boolean
}

/** A person's approval, used up by the first intent of the call that it is for. */
export interface ApprovalUse {
  readonly approvalId: string
  /** Names this execution of the call. */
  readonly useToken: string
}

/** The claim of a hosted run, under which an effect may begin. */
export interface RunFence {
  readonly runId: string
  readonly token: string
}

/** Why an approval lets nothing begin: it is not there or declined, was used before, or is too old. */
export type ApprovalProblem = 'missing' | 'used' | 'expired'

/** What the journal says to an attempt at an effect. Only `begun` may go on. */
export type Begun =
  /** Ours now: `token` names this attempt. */
  | { readonly state: 'begun'; readonly token: string }
  /** Done before: nothing may run. `result` is the stored result as JSON. */
  | { readonly state: 'done'; readonly result: string | undefined }
  /** The key was used with other arguments. */
  | { readonly state: 'conflict' }
  /** Another owner is at it and alive, past its deadline too, or its effect's deadline has not passed. */
  | { readonly state: 'running' }
  /** It may or may not have happened. `notPerformed`: it has not, it would have been stored together with its outcome. */
  | { readonly state: 'unknown'; readonly sinceFirstAttemptMs: number; readonly notPerformed?: true }
  /** The approval does not cover it. Nothing was written. */
  | { readonly state: 'unapproved'; readonly problem: ApprovalProblem }
  /** Its run is no longer claimed, or was cancelled. Nothing was written. */
  | { readonly state: 'unclaimed' }

/** How an attempt ended, as the journal stores it. `result` is JSON. */
export type Outcome =
  | { readonly state: 'done'; readonly result: string | undefined }
  | { readonly state: 'failed' | 'denied' }
  /** `leaseMs`: its own attempt is still at it, and counts as alive that long after a sign of life. Else it has ended. */
  | { readonly state: 'unknown'; readonly leaseMs?: number }

/** What the journal shows an operator. */
export interface JournalEntry extends Intent {
  readonly state: EffectState
  /** The stored result as JSON, with `done`. */
  readonly result: string | undefined
  readonly changedAtMs: number
  /** By the store's clock; negative when that was set back. */
  readonly sinceFirstAttemptMs: number
}

/** What an intent is begun under, beside itself. */
export interface BeginOptions {
  /** How long the owner counts as alive after a sign of life, in milliseconds. */
  readonly leaseMs: number
  /** Take an unknown outcome over, to settle or repeat it. One taker wins. */
  readonly retakeUnknown?: boolean
  /**
   * The call needs this approval, and uses it in the same transaction. An approval that was used before covers the same
   * execution of the call (`useToken`), an effect of the call that has never begun, and an unknown outcome of it; never
   * the repeat of an effect that has ended.
   */
  readonly approval?: ApprovalUse | undefined
  /**
   * Begins only while this claim of its run holds, looked at in the same transaction: it has the run, its lease has not
   * passed, and nobody asked for the run to be cancelled. A journal that has no runs begins nothing under a fence.
   */
  readonly fence?: RunFence | undefined
}

/** Who settled an unknown outcome, and why. Stored with the outcome as an audit entry. */
export interface Settlement {
  readonly by: string
  readonly reason: string
}

/**
 * The database transaction that an effect's own writes may join: with SQLite its `DatabaseSync`, with Postgres a
 * `PostgresTransaction`.
 */
export type JournalTransaction = unknown

export type CommittedWith<Result> =
  | { readonly committed: true; readonly value: Result }
  /** Rolled back: it surely did not happen. */
  | { readonly committed: false; readonly thrown: unknown }

/**
 * Where intents and outcomes are stored. E1: a key has at most one owner. E2: `done` never changes.
 * E3: `unknown` is left only by its own late outcome, and, once its own attempt shows no sign of life any more, by a
 * retake or an operator. Its own late `done` counts for more than an operator's `failed`, until the key begins again.
 * Times are the store's own.
 */
export interface Journal {
  /** Stores the intent durably, or says what is in the way. `denied` and `failed` are free to begin again. */
  begin(intent: Intent, options: BeginOptions): Promise<Begun>
  /**
   * A sign of life. False when the attempt is no longer ours: its signals must be aborted. With a fence also false when
   * that claim no longer holds.
   */
  renew(token: string, leaseMs: number, fence?: RunFence): Promise<boolean>
  /**
   * Stores how an attempt ended. False when it is no longer ours; then nothing changed. `overruled`: stored, although
   * an operator had said that it failed; where operators' words are kept, this is too.
   */
  settle(token: string, outcome: Outcome): Promise<boolean | 'overruled'>
  /** Unknown outcomes, oldest first, those whose lease and deadline have passed included. */
  listUnknown(): Promise<readonly JournalEntry[]>
  /** How many `listUnknown` would give, without a look into them: health checks ask often. */
  countUnknown(): Promise<number>
  /** What a run of this caller has on record, oldest first. */
  listRun(run: { readonly caller: string; readonly runId: string }): Promise<readonly JournalEntry[]>
  /** An operator's word on an unknown outcome. False when it is not unknown, or its own attempt is still at it. */
  resolveUnknown(key: string, outcome: Outcome, settlement?: Settlement): Promise<boolean>
  /**
   * For effects that write into the journal's own database: `work` and the outcome `done` commit together or not at
   * all (E4), and `work` begins in this tick. Rejects when it cannot be told which, also when the attempt is no longer
   * ours, or `work` ended the transaction. The transaction is of use until `work` has returned; with Postgres until the
   * promise that it gave has settled, and no longer than the effect's deadline. With SQLite `work` must not give one.
   * What cannot be told now, a later `begin` tells, once the transaction has surely ended: `done`, or `notPerformed`
   * unless `work` broke a rule. Absent where the journal is no database.
   */
  settleWith?<Result>(
    token: string,
    work: (transaction: JournalTransaction) => Result,
  ): Promise<CommittedWith<Awaited<Result>>>
  close(): Promise<void>
}
