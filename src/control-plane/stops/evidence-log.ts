import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Logger } from '../../log.ts'
import { createOutage } from '../../outage.ts'
import { redact } from '../../redact.ts'
import type { StopEvidence, StopStore } from './stop-store.ts'

/** What was observed is on its way to the disk this long after. */
const FLUSH_AFTER_MS = 100
/** One write, so that a stop never waits for more than that. */
const ROWS_PER_WRITE = 100
/** Rows, also those on their way to the disk. */
const MAX_WAITING = 50_000

export interface StopEvidenceLog {
  /** No stream is open yet, whatever an earlier process noted. Before anything else is written. */
  readonly start: () => void
  /** Takes note and returns at once: no stop waits for evidence. What is lost makes a stop unconfirmed, never the opposite. */
  readonly observe: (evidence: Partial<StopEvidence>) => void
  /** Resolves once all that was observed is written or given up; never rejects. */
  readonly flush: () => Promise<void>
  /** Nothing that comes after it is noted. */
  readonly close: () => Promise<void>
}

/** Evidence of stops, written in batches by the thread that writes. */
export function createStopEvidenceLog(options: {
  readonly store: Pick<StopStore, 'recordStopEvidence' | 'closeStreams'>
  readonly log: Logger
  /** Other nodes go on, and tell of the streams of this one. */
  readonly hasOthers?: boolean | undefined
  /** Told after a write failed. */
  readonly onFailed: () => void
}): StopEvidenceLog {
  const { store, log, onFailed, hasOthers = false } = options
  const outage = createOutage(log, 'evidence of stops could not be stored')
  let waiting = none()
  let rows = 0
  let dropped = 0
  let timer: NodeJS.Timeout | undefined
  let turns = Promise.resolve()
  let isStarted = false
  let isClosed = false

  const attempt = async (write: () => Promise<void>) => {
    try {
      await write()
      outage.worked()
    } catch (error) {
      outage.failed(error)
      onFailed()
    }
  }
  const start = () => {
    if (isStarted) return
    isStarted = true
    turns = turns.then(() => attempt(() => store.closeStreams()))
  }
  const writeParts = async (evidence: Waiting) => {
    for (const part of partsOf(evidence)) {
      await attempt(() => store.recordStopEvidence(part))
      rows -= countOf(part)
      // Stops go first.
      await nextTurn()
    }
  }
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    start()
    if (dropped > 0) log.error({ dropped }, 'more evidence of stops came than the disk could store')
    if (countOf(waiting) > 0) {
      const taken = waiting
      turns = turns.then(() => writeParts(taken))
    }
    waiting = none()
    dropped = 0
    return turns
  }

  return {
    start,
    observe: ({ seen = [], told = [], acks = [] }) => {
      if (isClosed) return
      const count = countOf({ seen, told, acks })
      if (rows + count > MAX_WAITING) return void (dropped += count)
      rows += count
      for (const one of seen) waiting.seen.push(storable(one))
      for (const one of told) waiting.told.push(storable(one))
      for (const one of acks) waiting.acks.push({ ...storable(one), ack: storableAck(one.ack) })
      timer ??= setTimeout(() => void flush(), FLUSH_AFTER_MS)
    },
    flush,
    close: async () => {
      isClosed = true
      await flush()
      if (hasOthers) await attempt(() => store.closeStreams())
    },
  }
}

type Waiting = { readonly [Name in keyof StopEvidence]: StopEvidence[Name][number][] }

function none(): Waiting {
  return { seen: [], told: [], acks: [] }
}

function countOf({ seen, told, acks }: StopEvidence): number {
  return seen.length + told.length + acks.length
}

/** What callers say of themselves is kept, and shown: never a key that slipped in. */
function storable<T extends { readonly replica: string }>(one: T): T {
  return { ...one, replica: redact(one.replica) }
}

function storableAck(ack: StopEvidence['acks'][number]['ack']): StopEvidence['acks'][number]['ack'] {
  const clean = (text: string | null) => (text === null ? null : redact(text))
  const calls = ack.calls?.map(({ callId, runId, tool, end }) => ({
    callId: clean(callId),
    runId: clean(runId),
    tool: clean(tool),
    end,
  }))
  return { ...ack, calls }
}

function* partsOf({ seen, told, acks }: Waiting): Generator<StopEvidence> {
  const nothing: StopEvidence = none()
  for (const part of slices(seen)) yield { ...nothing, seen: part }
  for (const part of slices(told)) yield { ...nothing, told: part }
  for (const part of slices(acks)) yield { ...nothing, acks: part }
}

function* slices<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < all.length; from += ROWS_PER_WRITE) yield all.slice(from, from + ROWS_PER_WRITE)
}
