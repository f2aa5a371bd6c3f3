import type { Instant } from '../clock.ts'
import { messageOf } from '../errors.ts'
import type { Attempt } from './attempt.ts'
import { LEASE_MS } from './effect-run.ts'
import type { Guard } from './guard.ts'
import type { ApprovalProblem, BeginOptions, Begun } from './journal.ts'

export type IntentAnswer =
  | { readonly state: 'answered'; readonly begun: Approved; readonly heldAt: Instant }
  /** No intent, no effect. */
  | {
      readonly state: 'refused'
      readonly code: 'JOURNAL_UNAVAILABLE' | 'APPROVAL_REQUIRED' | 'APPROVAL_EXPIRED' | 'CALL_ABORTED'
    }

type Approved = Exclude<Begun, { state: 'unapproved' | 'unclaimed' }>

const POLL_MS = 25

/** While another owner lives, waits for its outcome inside our own budget. */
export async function beginIntent(
  guard: Guard,
  attempt: Attempt,
  options: Pick<BeginOptions, 'retakeUnknown' | 'approval' | 'fence'>,
): Promise<IntentAnswer> {
  const untilMs = performance.now() + guard.timeoutMs
  for (;;) {
    const heldAt = guard.clock.now()
    const begun = await begin(guard, attempt, { ...options, leaseMs: LEASE_MS })
    if (begun === undefined) return { state: 'refused', code: 'JOURNAL_UNAVAILABLE' }
    if (begun.state === 'unclaimed') return { state: 'refused', code: 'CALL_ABORTED' }
    if (begun.state === 'unapproved') return { state: 'refused', code: APPROVAL_CODES[begun.problem] }
    if (begun.state !== 'running' || performance.now() >= untilMs) return { state: 'answered', begun, heldAt }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Undefined when the journal failed. */
async function begin(guard: Guard, attempt: Attempt, options: BeginOptions): Promise<Begun | undefined> {
  try {
    return await guard.journal.begin(attempt.intent, options)
  } catch (cause) {
    guard.log.error({ effect: attempt.effect.name, err: messageOf(cause) }, 'journal failed')
    return undefined
  }
}

const APPROVAL_CODES = {
  missing: 'APPROVAL_REQUIRED',
  used: 'APPROVAL_REQUIRED',
  expired: 'APPROVAL_EXPIRED',
} as const satisfies Record<ApprovalProblem, string>
