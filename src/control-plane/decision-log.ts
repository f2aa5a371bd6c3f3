import { setImmediate as nextTurn } from 'node:timers/promises'

import { HoldpointError } from '../errors.ts'
import { redact } from '../redact.ts'
import { createSeen, emptyPart, partsOf, type Decision, type LaneBatch } from './decision-batch.ts'
import type { DecisionRecord } from './records.ts'

/** Decisions are on their way to the disk this long after the answer. */
const FLUSH_AFTER_MS = 100
/** When keys were used and devices seen may wait longer: only the last time of each counts. */
const SEEN_FLUSH_AFTER_MS = 1000
/** One write, so that a stop never waits for more than that. */
const ROWS_PER_WRITE = 500
const MAX_WAITING = { allows: 20_000, denials: 50_000 }

export interface DecisionLog {
  /**
   * Takes note and returns at once: the answer does not wait for the disk. What a `registered` device was told is shown
   * with it; of others, whose names may be anything, nothing is kept but the denial.
   */
  readonly record: (decision: Decision, registered?: boolean) => void
  /** Notes that a genuine key was used. */
  readonly keyUsed: (keyId: string) => void
  /** Writes what another thread has noted. Resolves once that is done or given up; never rejects. */
  readonly accept: (batch: LaneBatch) => Promise<void>
  /** Writes what is waiting. Never rejects. */
  readonly flush: () => Promise<void>
}

export interface DecisionLogOptions {
  /** Stores a batch, or hands it over to the thread that does. */
  readonly write: (batch: LaneBatch) => Promise<void>
  /** True when `write` hands over: then whole batches, and at once. Default false. */
  readonly handsOver?: boolean | undefined
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
  /** Stores allows too. Default false: denials only. */
  readonly recordAllows?: boolean | undefined
  readonly onLost: (error: unknown, decisions: number) => void
  /** How many decisions may wait for the disk. From the first number on allows are dropped, then denials too. */
  readonly maxWaiting?: { readonly allows: number; readonly denials: number } | undefined
}

/**
 * G8: every denial is stored, and allows when asked for, in batches, at most 250 ms after the answer. A crash may
 * lose that much of the record; never of a change. It runs in each thread that answers: there `write` hands over to
 * the one that holds the store.
 */
export function createDecisionLog(options: DecisionLogOptions): DecisionLog {
  const { write, nowMs, recordAllows = false, onLost, maxWaiting = MAX_WAITING } = options
  const deliver = options.handsOver === true ? write : inTurns(write, onLost)
  const seen = createSeen()
  let decisions: DecisionRecord[] = []
  let lost = 0
  let beingWritten = 0
  let writing = Promise.resolve()
  let seenIsWritten = true

  const send = (batch: LaneBatch): Promise<void> => {
    const rows = batch.decisions.length
    beingWritten += rows
    const written = deliver(batch).then(() => void (beingWritten -= rows))
    writing = Promise.all([writing, written]).then(() => {})
    return written
  }
  const flushDecisions = () => {
    soon.clear()
    if (decisions.length > 0 || lost > 0) void send({ ...emptyPart(), decisions, lost })
    decisions = []
    lost = 0
  }
  const flushSeen = () => {
    later.clear()
    const batch = seen.take()
    if (batch === undefined) return
    seenIsWritten = false
    void send(batch).then(() => (seenIsWritten = true))
  }
  const soon = createDue(FLUSH_AFTER_MS, flushDecisions)
  const later = createDue(SEEN_FLUSH_AFTER_MS, () => {
    // Not before the last one is through: until then the next one only becomes truer, not longer.
    if (seenIsWritten) flushSeen()
    else later.set(nowMs())
  })
  const keep = (record: DecisionRecord): void => {
    const limit = record.code === 'ALLOW' ? maxWaiting.allows : maxWaiting.denials
    if (decisions.length + beingWritten >= limit) lost++
    else decisions.push(storable(record))
    if (decisions.length >= ROWS_PER_WRITE) flushDecisions()
    else soon.set(record.atMs)
  }

  return {
    record: (decision, registered = false) => {
      const atMs = nowMs()
      seen.decided(decision, registered, atMs)
      later.set(atMs)
      if (recordAllows || decision.code !== 'ALLOW') keep({ ...decision, atMs })
      soon.check(atMs)
      later.check(atMs)
    },
    keyUsed: (keyId) => {
      const atMs = nowMs()
      seen.keyUsed(keyId, atMs)
      later.set(atMs)
    },
    accept: send,
    flush: async () => {
      flushDecisions()
      flushSeen()
      await writing
    },
  }
}

/** One write after the other, each of a bounded number of rows, and between two of them whatever came in meanwhile. */
function inTurns(
  write: DecisionLogOptions['write'],
  onLost: DecisionLogOptions['onLost'],
): (batch: LaneBatch) => Promise<void> {
  let turns = Promise.resolve()
  const writeParts = async (batch: LaneBatch): Promise<void> => {
    if (batch.lost > 0) onLost(overflow(), batch.lost)
    for (const part of partsOf(batch, ROWS_PER_WRITE)) {
      try {
        await write(part)
      } catch (error) {
        onLost(error, part.decisions.length)
      }
      // Stops go first.
      await nextTurn()
    }
  }
  return (batch) => (turns = turns.then(() => writeParts(batch)))
}

/**
 * Calls `act` once, `afterMs` after it was set. In a thread that is never done with answering, no timer comes up for
 * seconds, so whoever passes by looks at the clock too.
 */
function createDue(afterMs: number, act: () => void) {
  let timer: NodeJS.Timeout | undefined
  let dueMs = 0
  const clear = () => {
    clearTimeout(timer)
    timer = undefined
  }
  const run = () => {
    clear()
    act()
  }
  return {
    clear,
    set: (nowMs: number) => {
      if (timer !== undefined) return
      dueMs = nowMs + afterMs
      timer = setTimeout(run, afterMs)
    },
    check: (nowMs: number) => {
      if (timer !== undefined && nowMs >= dueMs) run()
    },
  }
}

/** What callers say of themselves is kept, and shown: never a key that slipped in. */
function storable(record: DecisionRecord): DecisionRecord {
  const { boundary, tool, callId, runId, replica } = record
  const clean = (text: string | null) => (text === null ? null : redact(text))
  return {
    ...record,
    boundary: clean(boundary),
    tool: clean(tool),
    callId: clean(callId),
    runId: clean(runId),
    replica: clean(replica),
  }
}

function overflow(): HoldpointError {
  return new HoldpointError(
    'DECISIONS_OVERFLOW',
    'More decisions were made than the disk could store. Set DECISION_LOG=denials, or use a faster disk.',
  )
}
