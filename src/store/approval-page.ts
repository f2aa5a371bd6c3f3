import type {
  ApprovalFilter,
  ApprovalPlace,
  ApprovalRecord,
} from '../control-plane/approvals/approval-store.ts'

// Pages of the desk: those that wait, first to expire first; then the others, newest first.

/** What fits of `found`, in the order of a page. */
export function among(
  found: readonly ApprovalRecord[],
  { state, runId }: ApprovalFilter,
  after: ApprovalPlace | undefined,
): ApprovalRecord[] {
  return found
    .filter((one) => state === undefined || one.state === state)
    .filter((one) => runId === undefined || one.runId === runId)
    .filter((one) => after === undefined || inOrder(after, placeOf(one)) < 0)
    .toSorted((a, b) => inOrder(placeOf(a), placeOf(b)))
}

/** Never none, if there is one. Takes no more from `found` than one that does not fit. */
export function takePage(
  found: Iterable<ApprovalRecord>,
  { limit, maxBytes }: { readonly limit: number; readonly maxBytes: number },
): { readonly taken: ApprovalRecord[]; readonly next: ApprovalPlace | null } {
  const taken: ApprovalRecord[] = []
  let bytes = 0
  for (const approval of found) {
    bytes += Buffer.byteLength(approval.argumentsJson)
    const last = taken.at(-1)
    if (last !== undefined && (taken.length >= limit || bytes > maxBytes))
      return { taken, next: placeOf(last) }
    taken.push(approval)
  }
  return { taken, next: null }
}

/** After which row a page begins in each of the two parts; undefined for a part that is not on it. */
export function partsAfter(
  state: ApprovalFilter['state'],
  after: ApprovalPlace | undefined,
): {
  readonly waiting: Pick<ApprovalPlace, 'atMs' | 'approvalId'> | undefined
  readonly others: Pick<ApprovalPlace, 'atMs' | 'approvalId'> | undefined
} {
  const hasWaiting = after?.waiting !== false && (state ?? 'waiting') === 'waiting'
  return {
    waiting: hasWaiting ? (after ?? { atMs: Number.MIN_SAFE_INTEGER, approvalId: '' }) : undefined,
    others:
      state === 'waiting'
        ? undefined
        : after?.waiting === false
          ? after
          : { atMs: Number.MAX_SAFE_INTEGER, approvalId: '' },
  }
}

function inOrder(a: ApprovalPlace, b: ApprovalPlace): number {
  if (a.waiting !== b.waiting) return a.waiting ? -1 : 1
  const byTime = a.atMs - b.atMs || (a.approvalId < b.approvalId ? -1 : Number(a.approvalId > b.approvalId))
  return a.waiting ? byTime : -byTime
}

function placeOf({ state, expiresAtMs, askedAtMs, approvalId }: ApprovalRecord): ApprovalPlace {
  const waiting = state === 'waiting'
  return { waiting, atMs: waiting ? expiresAtMs : askedAtMs, approvalId }
}
