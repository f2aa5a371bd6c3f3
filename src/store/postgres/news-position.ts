/** Which transactions a look at the table could see: every one below `oldest` was over, none from `next` on had begun. */
export interface Horizon {
  readonly oldest: number
  readonly next: number
}

/**
 * What of the news was read. IDs are given out in order and become visible in any: one that commits late is smaller than
 * some that were read before it. What is missing below the last that was read stays wanted until every transaction that
 * can hold it is over; then it is known to have been rolled back. That is exact, because a transaction gets its number
 * before its news get theirs (see ADD_NEWS), and costs nothing, unlike reading a span of time again and again.
 */
export interface NewsPosition {
  /** All beyond it are wanted. */
  readonly last: () => number
  /** And these before it. */
  readonly missing: () => readonly number[]
  /** Of one look: the IDs that it found in their order, of those that are wanted all up to the last of them. */
  readonly read: (ids: readonly number[], horizon: Horizon) => void
}

export function createNewsPosition(last: number): NewsPosition {
  /** With the number from which on no running transaction can hold it. */
  const missing = new Map<number, number>()
  let lastRead = last
  return {
    last: () => lastRead,
    missing: () => [...missing.keys()],
    read: (ids, { oldest, next }) => {
      for (const id of ids) missing.delete(id)
      for (const [id, overFrom] of missing) if (oldest >= overFrom) missing.delete(id)
      for (const id of ids) {
        if (id <= lastRead) continue
        for (let skipped = lastRead + 1; skipped < id; skipped++) missing.set(skipped, next)
        lastRead = id
      }
    },
  }
}
