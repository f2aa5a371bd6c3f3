import type { BeginOptions, Begun, EffectState, Intent, Journal, JournalEntry, Outcome } from './journal.ts'

interface Row {
  intent: Intent
  state: EffectState
  token: string
  result: string | undefined
  firstAttemptAtMs: number
  changedAtMs: number
  leaseUntilMs: number
  deadlineAtMs: number
}

export interface MemoryJournalOptions {
  /** The store's clock: wall time in milliseconds. Default `Date.now`. */
  readonly nowMs?: () => number
}

/**
 * A journal that forgets everything when the process ends: for tests and for effects that may repeat. It has no
 * approvals, so an intent that needs one does not begin; it keeps no audit of settlements, and no transactions.
 */
export function createMemoryJournal(options: MemoryJournalOptions = {}): Journal {
  const nowMs = options.nowMs ?? Date.now
  const rows = new Map<string, Row>()
  const byToken = new Map<string, Row>()

  function expire(row: Row): void {
    if (row.state !== 'intent' || row.leaseUntilMs > nowMs() || row.deadlineAtMs > nowMs()) return
    row.state = 'unknown'
    row.changedAtMs = nowMs()
  }

  function inTheWay(row: Row, intent: Intent, retakeUnknown: boolean): Begun | undefined {
    if (row.state === 'failed' || row.state === 'denied') return undefined
    if (row.intent.inputDigest !== intent.inputDigest) return { state: 'conflict' }
    if (row.state === 'done') return { state: 'done', result: row.result }
    if (row.state === 'intent') return { state: 'running' }
    return retakeUnknown
      ? undefined
      : { state: 'unknown', sinceFirstAttemptMs: nowMs() - row.firstAttemptAtMs }
  }

  function begin(intent: Intent, { leaseMs, retakeUnknown = false, approval }: BeginOptions): Begun {
    const row = rows.get(intent.key)
    if (row !== undefined) {
      expire(row)
      const obstacle = inTheWay(row, intent, retakeUnknown)
      if (obstacle !== undefined) return obstacle
    }
    if (approval !== undefined) return { state: 'unapproved', problem: 'missing' }
    if (row !== undefined) byToken.delete(row.token)
    const now = nowMs()
    const begun: Row = {
      intent,
      state: 'intent',
      token: crypto.randomUUID(),
      result: undefined,
      firstAttemptAtMs: row?.state === 'unknown' ? row.firstAttemptAtMs : now,
      changedAtMs: now,
      leaseUntilMs: now + leaseMs,
      deadlineAtMs: now + intent.deadlineMs,
    }
    rows.set(intent.key, begun)
    byToken.set(begun.token, begun)
    return { state: 'begun', token: begun.token }
  }

  function end(row: Row | undefined, from: readonly EffectState[], outcome: Outcome): boolean {
    if (row === undefined || !from.includes(row.state)) return false
    row.state = outcome.state
    row.result = outcome.state === 'done' ? outcome.result : undefined
    row.changedAtMs = nowMs()
    return true
  }

  function list(wanted: (row: Row) => boolean): JournalEntry[] {
    const all = [...rows.values()]
    all.forEach(expire)
    return all
      .filter(wanted)
      .sort((one, other) => one.firstAttemptAtMs - other.firstAttemptAtMs)
      .map(entryOf)
  }

  return {
    begin: async (intent, beginOptions) => begin(intent, beginOptions),
    renew: async (token, leaseMs) => {
      const row = byToken.get(token)
      if (row?.state !== 'intent') return false
      row.leaseUntilMs = nowMs() + leaseMs
      return true
    },
    settle: async (token, outcome) => end(byToken.get(token), ['intent', 'unknown'], outcome),
    listUnknown: async () => list((row) => row.state === 'unknown'),
    listRun: async ({ caller, runId }) =>
      list(({ intent }) => intent.caller === caller && intent.runId === runId),
    resolveUnknown: async (key, outcome) => {
      const row = rows.get(key)
      if (row !== undefined) expire(row)
      return end(row, ['unknown'], outcome)
    },
    close: async () => {},
  }
}

function entryOf(row: Row): JournalEntry {
  const { transactional: _, ...intent } = row.intent
  return { ...intent, state: row.state, result: row.result, changedAtMs: row.changedAtMs }
}
