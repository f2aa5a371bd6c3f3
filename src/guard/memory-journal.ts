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
  /** An operator said how it ended. */
  resolved: boolean
}

/** What `createMemoryJournal` takes. */
export interface MemoryJournalOptions {
  /** The store's clock: wall time in milliseconds. Default `Date.now`. */
  readonly nowMs?: () => number
}

/**
 * A journal that forgets everything when the process ends: for tests and for effects that may repeat. It has no
 * approvals and no runs, so an intent that needs one or the other does not begin; it keeps no audit of settlements, and
 * no transactions.
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
    if (row.state === 'intent' || row.leaseUntilMs > nowMs()) return { state: 'running' }
    return retakeUnknown
      ? undefined
      : { state: 'unknown', sinceFirstAttemptMs: nowMs() - row.firstAttemptAtMs }
  }

  function begin(intent: Intent, { leaseMs, retakeUnknown = false, approval, fence }: BeginOptions): Begun {
    const row = rows.get(intent.key)
    if (row !== undefined) {
      expire(row)
      const obstacle = inTheWay(row, intent, retakeUnknown)
      if (obstacle !== undefined) return obstacle
    }
    if (fence !== undefined) return { state: 'unclaimed' }
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
      resolved: false,
    }
    rows.set(intent.key, begun)
    byToken.set(begun.token, begun)
    return { state: 'begun', token: begun.token }
  }

  function end(row: Row, outcome: Outcome, resolved = false): void {
    const now = nowMs()
    row.state = outcome.state
    row.result = outcome.state === 'done' ? outcome.result : undefined
    row.changedAtMs = now
    // None at all, so that a clock that is set back revives nothing.
    row.leaseUntilMs =
      outcome.state === 'unknown' && outcome.leaseMs !== undefined ? now + outcome.leaseMs : -Infinity
    row.resolved = resolved
  }

  function settle(row: Row | undefined, outcome: Outcome): boolean | 'overruled' {
    const overruled = row?.state === 'failed' && row.resolved && outcome.state === 'done'
    if (row === undefined || !(row.state === 'intent' || row.state === 'unknown' || overruled)) return false
    end(row, outcome)
    return overruled ? 'overruled' : true
  }

  const isUnknown = (row: Row): boolean => {
    expire(row)
    return row.state === 'unknown'
  }

  function list(wanted: (row: Row) => boolean): JournalEntry[] {
    const all = [...rows.values()]
    all.forEach(expire)
    return all
      .filter(wanted)
      .sort((one, other) => one.firstAttemptAtMs - other.firstAttemptAtMs)
      .map((row) => entryOf(row, nowMs()))
  }

  return {
    begin: async (intent, beginOptions) => begin(intent, beginOptions),
    renew: async (token, leaseMs, fence) => {
      const row = byToken.get(token)
      if (row === undefined || fence !== undefined || !isAlive(row, nowMs())) return false
      row.leaseUntilMs = nowMs() + leaseMs
      return true
    },
    settle: async (token, outcome) => settle(byToken.get(token), outcome),
    listUnknown: async () => list(isUnknown),
    countUnknown: async () => rows.values().filter(isUnknown).toArray().length,
    listRun: async ({ caller, runId }) =>
      list(({ intent }) => intent.caller === caller && intent.runId === runId),
    resolveUnknown: async (key, outcome) => {
      const row = rows.get(key)
      if (row === undefined) return false
      expire(row)
      if (row.state !== 'unknown' || isAlive(row, nowMs())) return false
      end(row, outcome, true)
      return true
    },
    close: async () => {},
  }
}

/** Whether its own attempt may show a sign of life. */
function isAlive({ state, leaseUntilMs }: Row, nowMs: number): boolean {
  return state === 'intent' || (state === 'unknown' && leaseUntilMs > nowMs)
}

function entryOf({ intent, state, result, changedAtMs, firstAttemptAtMs }: Row, nowMs: number): JournalEntry {
  const { transactional: _, ...asked } = intent
  return { ...asked, state, result, changedAtMs, sinceFirstAttemptMs: nowMs - firstAttemptAtMs }
}
