import { MAX_BATCH_DEVICES } from '../machineid/wire.ts'
import { decisionEntry, fits, type FeedFilter } from './feed-events.ts'
import type { DecisionRecord } from './records.ts'
import type { ControlPlaneStore, DecisionFilter } from './store.ts'

/** How many decisions are read before anything else gets its turn. */
const SLICE_ROWS = 250

export interface Scanning {
  readonly store: Pick<ControlPlaneStore, 'listDecisions'>
  /** Resolves when the next slice may be read. */
  readonly turn: () => Promise<void>
}

export interface Scan {
  /** What is looked through. */
  readonly within: Pick<DecisionFilter, 'requestId' | 'fromMs' | 'toMs'>
  /** From the first question that is older than this request id. */
  readonly before?: string | undefined
  /** What is looked for. */
  readonly filter: FeedFilter
  /** How many it is to find; the last question is told to its end. */
  readonly limit: number
  /** How many it may look at. */
  readonly maxLooked: number
}

export interface Scanned {
  /** Newest first. */
  readonly decisions: readonly DecisionRecord[]
  /** From where to look on; null when there is nothing left to look at. */
  readonly nextBefore: string | null
}

/**
 * Looks for decisions in slices. A store that was asked for those that fit would hold up every stop until it had gone
 * through all that do not.
 */
export async function scanDecisions({ store, turn }: Scanning, orgId: string, scan: Scan): Promise<Scanned> {
  const { within, filter, limit, maxLooked } = scan
  const found: DecisionRecord[] = []
  let { before } = scan
  for (let looked = 0; looked < maxLooked; looked += SLICE_ROWS) {
    await turn()
    const rows = await store.listDecisions(orgId, within, { before, limit: SLICE_ROWS + MAX_BATCH_DEVICES })
    const slice = wholeQuestions(rows, SLICE_ROWS)
    found.push(...slice.filter((record) => fits(filter, decisionEntry(record).event)))
    const page = wholeQuestions(found, limit)
    if (page.length < found.length) return { decisions: page, nextBefore: page.at(-1)?.requestId ?? null }
    if (slice.length === rows.length) return { decisions: found, nextBefore: null }
    before = slice.at(-1)?.requestId
  }
  return { decisions: found, nextBefore: before ?? null }
}

/** The first `limit`, and what else belongs to the last question among them. */
function wholeQuestions(found: readonly DecisionRecord[], limit: number): readonly DecisionRecord[] {
  const last = found[limit - 1]?.requestId
  const end = found.findIndex(({ requestId }, index) => index >= limit && requestId !== last)
  return end === -1 ? found : found.slice(0, end)
}
