import type { AuditRow } from './records.ts'
import type { AuditFilter, ControlPlaneStore } from './store.ts'

/** How many rows are looked at before anything else gets its turn. */
const SLICE_ROWS = 250

export interface AuditSearching {
  readonly store: Pick<ControlPlaneStore, 'searchAudit'>
  /** Resolves when the next slice may be read. */
  readonly turn: () => Promise<void>
}

export interface AuditSearch {
  readonly filter: AuditFilter
  readonly order: 'oldest' | 'newest'
  /** Begins next to the row of this `seq`. */
  readonly from: number
  /** How many it is to find. */
  readonly limit: number
  /** How many it may look at. */
  readonly maxLooked: number
}

export interface AuditFound {
  readonly rows: readonly AuditRow[]
  /** From which `seq` to look on; null when there is nothing left to look at. */
  readonly next: number | null
}

/** A page of the chain, found in slices: however few of its rows fit, no stop waits for more than one of them. */
export async function searchAudit(
  { store, turn }: AuditSearching,
  orgId: string,
  { filter, order, from, limit, maxLooked }: AuditSearch,
): Promise<AuditFound> {
  const found: AuditRow[] = []
  let next = from
  for (let looked = 0; looked < maxLooked; looked += SLICE_ROWS) {
    await turn()
    const slice = await store.searchAudit(orgId, filter, { order, from: next, limit: SLICE_ROWS })
    found.push(...slice.rows)
    const last = found[limit - 1]
    if (last !== undefined && found.length > limit) return { rows: found.slice(0, limit), next: last.seq }
    if (slice.lookedTo === null) return { rows: found, next: null }
    next = slice.lookedTo
  }
  return { rows: found, next }
}
