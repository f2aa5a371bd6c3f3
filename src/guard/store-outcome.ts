import { messageOf } from '../errors.ts'
import type { Attempt } from './attempt.ts'
import type { Guard } from './guard.ts'
import type { Outcome } from './journal.ts'

/** After the effect nothing can be taken back: a journal that fails now leaves an intent, which becomes unknown. */
export async function storeOutcome(
  guard: Guard,
  attempt: Attempt,
  token: string,
  outcome: Outcome,
): Promise<void> {
  const { effect, intent, idempotencyKey } = attempt
  const { tool, callId, runId } = intent
  const line = {
    effect: effect.name,
    tool,
    call_id: callId,
    run_id: runId,
    idempotency_key: idempotencyKey,
  }
  try {
    const settled = await guard.journal.settle(token, outcome)
    guard.reach('effect.outcome_stored')
    const why = contradiction(settled, outcome)
    if (why === undefined) return
    guard.log.error(line, `effect performed, but ${why}`)
  } catch (cause) {
    guard.log.error({ ...line, state: outcome.state, err: messageOf(cause) }, 'journal failed')
  }
}

/** Somebody acted as if it had not been performed: a person must look. */
function contradiction(settled: boolean | 'overruled', outcome: Outcome): string | undefined {
  if (settled === 'overruled') return 'an operator had settled it as failed'
  if (settled || outcome.state !== 'done') return undefined
  return 'the journal has another attempt or outcome for its key'
}
