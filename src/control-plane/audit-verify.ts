import { GENESIS, rowHash } from './audit-chain.ts'
import type { AuditRow } from './records.ts'

/** A row that was noted where nobody who writes to the store can change it, such as in a log elsewhere. */
export interface NotedRow {
  readonly seq: number
  /** Its hash, or the first characters of it. */
  readonly hash: string
}

/** The first row at which a chain does not hold. */
export interface BrokenRow {
  readonly seq: number
  /** Null where the row is missing. */
  readonly id: string | null
  /** A sentence. */
  readonly problem: string
}

export type UnreadableRow = Partial<BrokenRow> & Pick<BrokenRow, 'problem'>

export interface ChainReport {
  readonly orgId: string
  readonly intact: boolean
  /** How many were read. */
  readonly rows: number
  /** The last row of an intact chain, to be noted elsewhere. */
  readonly head: { readonly seq: number; readonly hash: string } | null
  readonly firstBroken: BrokenRow | null
}

export interface ChainVerifier {
  /** The rows in the order in which they were kept. */
  readonly add: (row: AuditRow) => void
  /** For a row that cannot be read as one. Without a `seq` it is taken for the next one. */
  readonly addUnreadable: (row: UnreadableRow) => void
  readonly end: () => ChainReport
}

/**
 * Walks the chain of one org. What it cannot see by itself is a chain that was made anew from some row on, or cut off
 * at the end: for that, give a row that was noted elsewhere.
 */
export function createChainVerifier(orgId: string, noted?: NotedRow): ChainVerifier {
  let last: AuditRow | undefined
  let rows = 0
  let broken: BrokenRow | undefined
  /** The first rows that are missing, while it may be that they only come later. */
  let gap: { readonly from: number; readonly to: number } | undefined

  const judge = (row: AuditRow): BrokenRow | undefined => {
    const place = (last?.seq ?? 0) + 1
    const found = misplaced(row, orgId, place) ?? unlinked(row, last) ?? rewritten(row, noted)
    if (found !== undefined && found.id === null) gap = { from: place, to: row.seq - 1 }
    return found
  }

  return {
    add: (row) => {
      rows++
      if (broken === undefined) broken = judge(row)
      else if (gap !== undefined && row.seq >= gap.from && row.seq <= gap.to) {
        broken = at(
          row,
          `Row ${row.seq} comes later than row ${gap.to + 1}: the rows are not in their order.`,
        )
        gap = undefined
      }
      last = row
    },
    addUnreadable: (row) => {
      rows++
      broken ??= { seq: (last?.seq ?? 0) + 1, id: null, ...row }
    },
    end: () => {
      const firstBroken = broken ?? cutOff(last, noted) ?? null
      const intact = firstBroken === null
      const head = intact && last !== undefined ? { seq: last.seq, hash: last.hash } : null
      return { orgId, intact, rows, head, firstBroken }
    },
  }
}

function at({ seq, id }: AuditRow, problem: string): BrokenRow {
  return { seq, id, problem }
}

function misplaced(row: AuditRow, orgId: string, place: number): BrokenRow | undefined {
  const { seq } = row
  if (row.orgId !== orgId) return at(row, `Row ${seq} belongs to another org, ${row.orgId}.`)
  if (seq === place) return undefined
  if (seq < place) return at(row, `Row ${seq} stands where row ${place} should.`)
  const missing = seq - 1 === place ? `Row ${place} is missing` : `Rows ${place} to ${seq - 1} are missing`
  const where = place === 1 ? 'the chain was cut off at the front' : `after row ${place - 1} comes row ${seq}`
  return { seq: place, id: null, problem: `${missing}: ${where}.` }
}

function unlinked(row: AuditRow, before: AuditRow | undefined): BrokenRow | undefined {
  const { seq } = row
  if (hashOf(row) !== row.hash) {
    return at(row, `Row ${seq} does not fit its hash: what it says was changed, or its hash was.`)
  }
  if (row.prevHash === (before?.hash ?? GENESIS)) return undefined
  // The row before is whole in itself, so it shows only here that it is not the one that was there.
  return before === undefined
    ? at(row, 'Row 1 names a row before it: the chain was cut off at the front, and its rows numbered anew.')
    : at(before, `Row ${seq} was made after another row ${before.seq} than this one: it was rewritten.`)
}

function hashOf(row: AuditRow): string | undefined {
  try {
    return rowHash(row)
  } catch {
    // A time that no calendar has, say: nothing that was ever written.
    return undefined
  }
}

function rewritten(row: AuditRow, noted: NotedRow | undefined): BrokenRow | undefined {
  if (noted?.seq !== row.seq || row.hash.startsWith(noted.hash)) return undefined
  return at(
    row,
    `Row ${row.seq} is not the one that was noted: it or a row before it was rewritten, and every hash since made anew.`,
  )
}

function cutOff(last: AuditRow | undefined, noted: NotedRow | undefined): BrokenRow | undefined {
  const rows = last?.seq ?? 0
  if (noted !== undefined && noted.seq > rows) {
    const problem = `The chain ends with row ${rows}, but row ${noted.seq} was noted: it was cut off at the end.`
    return { seq: rows + 1, id: null, problem }
  }
  return rows > 0
    ? undefined
    : { seq: 1, id: null, problem: 'The chain is empty, and no org is without a row.' }
}
