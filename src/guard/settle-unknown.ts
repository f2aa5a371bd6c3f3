import { digestOfText } from '../canonical-json.ts'
import { messageOf } from '../errors.ts'
import { codeOf, idempotencyKeyOf, type EffectContext, type Reconciled } from './effect.ts'
import { absentCounts, LEASE_MS, resultJson, superviseEffect, type AnyEffect } from './effect-run.ts'
import { withAborts } from './forward-aborts.ts'
import type { Guard } from './guard.ts'
import type { JournalEntry, Outcome, Settlement } from './journal.ts'

export type SettledUnknown =
  /** The outcome is known now, and stored together with who settled it. */
  | { readonly settled: true; readonly state: 'done' | 'failed' }
  /**
   * `unknown`: the sink cannot tell either. `running`: it is still on its way, past its deadline. `changed`: somebody else
   * was faster.
   */
  | { readonly settled: false; readonly why: 'unknown' | 'running' | 'changed' }
  /** The input was redacted or is gone, or the effect has no `reconcile`: only a person can tell. */
  | { readonly settled: false; readonly why: 'impossible' }

/**
 * Asks an effect's own `reconcile` about one unknown outcome, outside of any call. Nothing is repeated: `absent` frees
 * the key, and a later call begins anew. While the sink may honour the key it counts as unknown: the same call sends it
 * again then, under that key.
 */
export async function reconcileUnknown(
  guard: Guard,
  entry: JournalEntry,
  effect: AnyEffect,
  by: string,
): Promise<SettledUnknown> {
  const { journal } = guard
  const { key, input } = entry
  const { reconcile } = codeOf(effect)
  const isWhole = input !== undefined && digestOfText(input) === entry.inputDigest
  if (reconcile === undefined || !isWhole) return { settled: false, why: 'impossible' }
  // It may still be at it, past its deadline.
  if (guard.overdueKeys.has(key)) return { settled: false, why: 'running' }
  const begun = await journal.begin(intentOf(entry), { leaseMs: LEASE_MS, retakeUnknown: true })
  if (begun.state !== 'begun')
    return { settled: false, why: begun.state === 'running' ? 'running' : 'changed' }
  const found = await ask(guard, entry, effect, begun.token, (signal) =>
    reconcile(JSON.parse(input), contextOf(entry, signal)),
  )
  // Unknown once more for an instant, because only from there an outcome is stored with who settled it.
  if (!(await journal.settle(begun.token, { state: 'unknown' }))) return { settled: false, why: 'changed' }
  const outcome = outcomeOf(found, effect, entry)
  if (found === undefined || outcome === undefined) return { settled: false, why: 'unknown' }
  const settlement = { by, reason: `reconcile of ${effect.name}: ${found.state}` }
  return settleUnknown(guard, key, outcome, settlement)
}

/** An operator's word on one unknown outcome. Refused while the effect is still on its way. */
export async function settleUnknown(
  { journal, log, overdueKeys }: Guard,
  key: string,
  outcome: Outcome,
  settlement: Settlement,
): Promise<SettledUnknown> {
  const settled = !overdueKeys.has(key) && (await journal.resolveUnknown(key, outcome, settlement))
  if (!settled) {
    const isUnknown = (await journal.listUnknown()).some((entry) => entry.key === key)
    return { settled: false, why: isUnknown ? 'running' : 'changed' }
  }
  const line = { idempotency_key: idempotencyKeyOf(key), state: outcome.state, by: settlement.by }
  log.info({ ...line, reason: settlement.reason }, 'unknown outcome settled')
  return { settled: true, state: outcome.state === 'done' ? 'done' : 'failed' }
}

function outcomeOf(
  found: Reconciled<unknown> | undefined,
  effect: AnyEffect,
  { sinceFirstAttemptMs }: JournalEntry,
): Outcome | undefined {
  if (found?.state === 'done') return { state: 'done', result: resultJson(found.result) }
  if (found?.state !== 'absent' || !absentCounts(effect, sinceFirstAttemptMs)) return undefined
  return { state: 'failed' }
}

async function ask(
  guard: Guard,
  { key }: JournalEntry,
  effect: AnyEffect,
  token: string,
  reconcile: (signal: AbortSignal) => Promise<Reconciled<unknown>>,
): Promise<Reconciled<unknown> | undefined> {
  const controller = new AbortController()
  const renew = () => guard.journal.renew(token, LEASE_MS)
  const asking = withAborts(controller, [guard.shutdownSignal], async () => reconcile(controller.signal))
  const { end } = await superviseEffect(asking, { effect, controller, renew })
  if (end.thrown !== undefined) {
    const line = { effect: effect.name, idempotency_key: idempotencyKeyOf(key), err: messageOf(end.thrown) }
    guard.log.error(line, 'reconcile failed')
  }
  return end.value as Reconciled<unknown> | undefined
}

function contextOf({ key, callId, runId }: JournalEntry, signal: AbortSignal): EffectContext<never> {
  return {
    idempotencyKey: idempotencyKeyOf(key),
    signal,
    context: undefined as never,
    callId,
    runId,
    epoch: undefined,
  }
}

function intentOf({
  key,
  effect,
  kind,
  tool,
  caller,
  runId,
  callId,
  inputDigest,
  input,
  deadlineMs,
  transactional = false,
}: JournalEntry) {
  const who = { caller, runId, callId }
  return { key, effect, kind, tool, ...who, inputDigest, input, deadlineMs, transactional }
}
