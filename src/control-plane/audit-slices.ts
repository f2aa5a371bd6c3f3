import { HoldpointError, messageOf } from '../errors.ts'
import { createChainVerifier, type ChainReport, type NotedRow } from './audit-verify.ts'
import type { AuditRow } from './records.ts'
import type { ControlPlaneStore } from './store.ts'

/** How many rows are read, hashed or written out before anything else gets its turn. */
const SLICE_ROWS = 32

interface Reading {
  readonly store: Pick<ControlPlaneStore, 'listAudit'>
  /** Resolves when the next slice may be read. */
  readonly turn: () => Promise<void>
}

/** The chain after `after` (a `seq`), to its end. */
export async function* auditSlices(
  { store, turn }: Reading,
  orgId: string,
  after: number,
): AsyncGenerator<readonly AuditRow[], void, void> {
  for (let last = after; ;) {
    await turn()
    const rows = await store.listAudit(orgId, { after: last, limit: SLICE_ROWS })
    yield rows
    if (rows.length < SLICE_ROWS) return
    last = rows.at(-1)?.seq ?? last
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
