const MAX_PER_CALLER = 20
const MAX_IN_ALL = 1000

export interface StreamPlaces {
  /** Undefined when the caller, or the server, has as many open as it may. Otherwise gives the place to another. */
  readonly take: (callerId: string) => (() => void) | undefined
}

/** How many event streams may be open at once: by default 20 of each caller and 1,000 in all. */
export function createStreamPlaces({
  maxPerCaller = MAX_PER_CALLER,
  maxInAll = MAX_IN_ALL,
} = {}): StreamPlaces {
  const byCaller = new Map<string, number>()
  let inAll = 0
  const count = (callerId: string, more: 1 | -1) => {
    const now = (byCaller.get(callerId) ?? 0) + more
    if (now === 0) byCaller.delete(callerId)
    else byCaller.set(callerId, now)
    inAll += more
  }
  return {
    take: (callerId) => {
      if ((byCaller.get(callerId) ?? 0) >= maxPerCaller || inAll >= maxInAll) return undefined
      count(callerId, 1)
      let taken = true
      return () => {
        if (taken) count(callerId, -1)
        taken = false
      }
    },
  }
}
