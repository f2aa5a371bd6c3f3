import { HoldpointError, messageOf } from '../errors.ts'
import { createChainVerifier, type ChainReport, type NotedRow } from './audit-verify.ts'
import type { AuditSearching } from './audit-search.ts'
import type { AuditRow } from './records.ts'
import type { AuditFilter, ControlPlaneStore } from './store.ts'

/** How many rows are read, hashed or written out before anything else gets its turn. */
const SLICE_ROWS = 32
/** How many are looked at, where only some are wanted. */
const SEARCH_ROWS = 250

interface Reading {
  readonly store: Pick<ControlPlaneStore, 'listAudit'>
  /** Resolves when the next slice may be read. */
  readonly turn: () => Promise<void>
}

/** The chain after `after` (a `seq`), to its end; of that what fits. */
export async function* auditSlices(
  { store, turn }: AuditSearching,
  orgId: string,
  { after, filter }: { readonly after: number; readonly filter: AuditFilter },
): AsyncGenerator<readonly AuditRow[], void, void> {
  const limit = Object.values(filter).every((wanted) => wanted === undefined) ? SLICE_ROWS : SEARCH_ROWS
  for (let from = after; ;) {
    await turn()
    const { rows, lookedTo } = await store.searchAudit(orgId, filter, { order: 'oldest', from, limit })
    yield rows
    if (lookedTo === null) return
    from = lookedTo
  }
}

/** Undefined when `isWanted` says so on the way. */
export async function verifyChain(
  { store, turn }: Reading,
  orgId: string,
  { noted, isWanted }: { readonly noted: NotedRow | undefined; readonly isWanted: () => boolean },
): Promise<ChainReport | undefined> {
  const verifier = createChainVerifier(orgId, noted)
  let limit = SLICE_ROWS
  for (let after = 0; ;) {
    await turn()
    if (!isWanted()) return undefined
    const rows = await read(store, orgId, { after, limit })
    if (typeof rows !== 'string') {
      for (const row of rows) verifier.add(row)
      if (rows.length < limit) return verifier.end()
      after = rows.at(-1)?.seq ?? after
    } else if (limit > 1) {
      // One of them. Row by row it shows which.
      limit = 1
    } else {
      verifier.addUnreadable({ problem: rows })
      return verifier.end()
    }
  }
}

/** Rows, or a sentence about one that is not what was written. What is wrong with the store itself is thrown. */
async function read(
  store: Reading['store'],
  orgId: string,
  page: { readonly after: number; readonly limit: number },
): Promise<readonly AuditRow[] | string> {
  try {
    return await store.listAudit(orgId, page)
  } catch (error) {
    if (error instanceof HoldpointError) throw error
    return `The row after row ${page.after} cannot be read: ${messageOf(error)}`
  }
}
