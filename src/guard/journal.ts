/** `intent` is durable before the question is asked; the others are how it ended. */
export type EffectState = 'intent' | 'done' | 'failed' | 'denied' | 'unknown'

export interface Intent {
  /** Org, caller, effect, then the business key or run, call and ordinal: see `effectKey`. */
  readonly key: string
  readonly effect: string
  readonly kind: string
  readonly tool: string
  readonly runId: string | undefined
  readonly callId: string
  /** SHA-256 of the canonical input: the same key with another digest is a conflict. */
  readonly inputDigest: string
  /** The input as JSON, redacted as the effect says. For people, and for retention. */
  readonly input: string | undefined
  /** The effect's own deadline. */
  readonly deadlineMs: number
}

export type Begun =
  /** Ours now: `token` names this attempt. */
  | { readonly state: 'begun'; readonly token: string }
  /** Done before: nothing may run. `result` is the stored result as JSON. */
  | { readonly state: 'done'; readonly result: string | undefined }
  /** The key was used with other arguments. */
  | { readonly state: 'conflict' }
  /** Another owner is at it and alive, or its effect's deadline has not passed. */
  | { readonly state: 'running' }
  /** It may or may not have happened. */
  | { readonly state: 'unknown'; readonly sinceFirstAttemptMs: number }

export type Outcome =
  | { readonly state: 'done'; readonly result: string | undefined }
  | { readonly state: 'failed' | 'denied' | 'unknown' }

/** What the journal shows an operator. */
export interface JournalEntry extends Intent {
  readonly state: EffectState
  readonly changedAtMs: number
}

export interface BeginOptions {
  /** How long the owner counts as alive after a sign of life, in milliseconds. */
  readonly leaseMs: number
  /** Take an unknown outcome over, to settle or repeat it. One taker wins. */
  readonly retakeUnknown?: boolean
}

/**
 * Where intents and outcomes are stored. E1: a key has at most one owner. E2: `done` never changes.
 * E3: `unknown` is left only by its own late outcome, by a retake, or by an operator. Times are the store's own.
 */
export interface Journal {
  /** Stores the intent durably, or says what is in the way. `denied` and `failed` are free to begin again. */
  begin(intent: Intent, options: BeginOptions): Promise<Begun>
  /** A sign of life. False when the attempt is no longer ours: its signals must be aborted. */
  renew(token: string, leaseMs: number): Promise<boolean>
  /** Stores how an attempt ended. False when it is no longer ours; then nothing changed. */
  settle(token: string, outcome: Outcome): Promise<boolean>
  /** Unknown outcomes, oldest first, those whose lease and deadline have passed included. */
  listUnknown(): Promise<readonly JournalEntry[]>
  /** An operator's word on an unknown outcome. False when it is not unknown. */
  resolveUnknown(key: string, outcome: Outcome): Promise<boolean>
  close(): Promise<void>
}
