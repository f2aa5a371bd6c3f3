import type { Begun, EffectState, Intent, JournalEntry, Outcome, Settlement } from '../guard/journal.ts'

/** A row of `effect_journal`, as both databases give it. */
export interface JournalRow {
  readonly key: string
  readonly effect: string
  readonly kind: string
  readonly tool: string
  readonly caller: string
  readonly run_id: string | null
  readonly call_id: string
  readonly input_digest: string
  readonly input: string | null
  readonly result: string | null
  readonly state: EffectState
  readonly approval_id: string | null
  readonly first_attempt_at_ms: number
  readonly changed_at_ms: number
  readonly lease_until_ms: number
  readonly deadline_ms: number
  readonly transactional: number
  /** 1 when an operator said how it ended. */
  readonly resolved: number
}

/** What keeps `intent` from beginning, if anything. */
export function inTheWay(
  row: JournalRow,
  intent: Intent,
  retakeUnknown: boolean,
  now: number,
): Begun | undefined {
  if (row.state === 'failed' || row.state === 'denied') return undefined
  if (row.input_digest !== intent.inputDigest) return { state: 'conflict' }
  if (row.state === 'done') return { state: 'done', result: row.result ?? undefined }
  if (row.state === 'intent' || row.lease_until_ms > now) return { state: 'running' }
  if (retakeUnknown) return undefined
  const sinceFirstAttemptMs = now - row.first_attempt_at_ms
  return { state: 'unknown', sinceFirstAttemptMs, ...(row.transactional === 1 ? { notPerformed: true } : {}) }
}

/** E3: whether its own attempt may still say how it ended. */
export function maySettle({ state, resolved }: JournalRow, outcome: Outcome): boolean | 'overruled' {
  if (state === 'failed' && resolved === 1 && outcome.state === 'done') return 'overruled'
  return state === 'intent' || state === 'unknown'
}

/** What an outcome changes of a row. */
export function endOf(outcome: Outcome, now: number) {
  const result = outcome.state === 'done' ? (outcome.result ?? null) : null
  // None at all, so that a clock that is set back revives nothing.
  const leaseUntilMs =
    outcome.state === 'unknown' && outcome.leaseMs !== undefined ? now + outcome.leaseMs : 0
  return { state: outcome.state, result, now, leaseUntilMs, resolved: 0 }
}

export function entryOf(row: JournalRow, now: number): JournalEntry {
  return {
    key: row.key,
    effect: row.effect,
    kind: row.kind,
    tool: row.tool,
    caller: row.caller,
    runId: row.run_id ?? undefined,
    callId: row.call_id,
    inputDigest: row.input_digest,
    input: row.input ?? undefined,
    deadlineMs: row.deadline_ms,
    ...(row.transactional === 1 ? { transactional: true } : {}),
    state: row.state,
    result: row.result ?? undefined,
    changedAtMs: row.changed_at_ms,
    sinceFirstAttemptMs: now - row.first_attempt_at_ms,
  }
}

/** Of an operator's `failed` that the effect's own late outcome contradicts. */
export const OVERRULED: Settlement = {
  by: 'effect',
  reason: 'It was settled as failed, and has been performed after all: its own late outcome says so.',
}
