import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { MS_PER_MINUTE, RATE_CELLS, type DecisionCounts } from '../decision-batch.ts'
import { createDecisionRates, RATE_MINUTES, type DecisionRates, type Rates } from '../decision-rates.ts'
import type { RateRow, RateStore } from './node-store.ts'

/** One statement, so that no stop waits long for a connection. */
const ROWS_PER_WRITE = 1000
/** Beyond that, while the store is away, counts are lost; it is logged. */
const MAX_WAITING = 200_000

/** Of all nodes, where there are several. */
export function createRates(
  store: RateStore | undefined,
  options: { readonly nowMs: () => number; readonly log: Logger },
): DecisionRates {
  return store === undefined ? createDecisionRates(options) : createSharedRates({ store, ...options })
}

/** The counts of all nodes, in the store. What could not be added waits for the next time. */
function createSharedRates(options: {
  readonly store: RateStore
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
  readonly log: Logger
}): DecisionRates {
  const { store, nowMs, log } = options
  let waiting = new Map<string, RateRow>()
  let writing = Promise.resolve()

  const keep = (row: RateRow) => {
    const name = `${row.minute} ${row.cell} ${row.orgId}`
    const before = waiting.get(name)
    if (before === undefined && waiting.size >= MAX_WAITING) return false
    waiting.set(name, { ...row, count: row.count + (before?.count ?? 0) })
    return true
  }
  const write = async () => {
    const oldest = firstMinute(nowMs())
    const rows = [...waiting.values()].filter(({ minute }) => minute >= oldest)
    waiting = new Map()
    let added = 0
    try {
      while (added < rows.length) {
        await store.addRates(rows.slice(added, added + ROWS_PER_WRITE))
        added += ROWS_PER_WRITE
      }
    } catch (error) {
      const kept = rows.slice(added).filter(keep).length
      const lost = Math.max(0, rows.length - added) - kept
      log.warn({ reason: messageOf(error), lost }, 'decisions could not be counted, trying again')
    }
  }

  return {
    add: (counts) => {
      for (const row of rowsOf(counts)) keep(row)
      writing = writing.then(write)
    },
    of: async (orgId) => {
      const first = firstMinute(nowMs())
      const { sinceMs, rows } = await store.ratesOf(orgId, first)
      const from = Math.max(Math.min(sinceMs, nowMs()), first * MS_PER_MINUTE)
      return { since: new Date(from).toISOString(), minutes: minutesOf(rows) }
    },
    close: () => (writing = writing.then(write)),
  }
}

function firstMinute(nowMs: number): number {
  return Math.floor(nowMs / MS_PER_MINUTE) - RATE_MINUTES + 1
}

function* rowsOf(counts: DecisionCounts): Generator<RateRow> {
  for (const [minute, ofMinute] of counts) {
    for (const [orgId, cells] of ofMinute) {
      for (const [cell, count] of cells.entries()) if (count > 0) yield { orgId, minute, cell, count }
    }
  }
}

function minutesOf(rows: readonly RateRow[]): Rates['minutes'] {
  const found = new Map<number, Rates['minutes'][number]>()
  for (const { minute, cell, count } of rows) {
    const named = RATE_CELLS[cell]
    // Of a newer version.
    if (named === undefined) continue
    let told = found.get(minute)
    if (told === undefined)
      found.set(minute, (told = { at: new Date(minute * MS_PER_MINUTE).toISOString(), counts: [] }))
    told.counts.push({ ...named, count })
  }
  return [...found.values()]
}
