/** Bytes that are kept for others: of bodies that are still on their way, of answers that are not yet read. */
export interface HeldBytes {
  /** `cut` is called when there is too much, and this has been kept the longest. */
  readonly begin: (cut: () => void) => Holding
}

export interface Holding {
  readonly add: (bytes: number) => void
  /** Nothing is kept any more. Fine to call twice. */
  readonly end: () => void
}

/** So that no number of slow callers can take all memory: beyond `maxBytes` the slowest of them are cut. */
export function createHeldBytes(maxBytes: number): HeldBytes {
  // In the order of their first bytes.
  const kept = new Map<() => void, number>()
  let inAll = 0
  const drop = (cut: () => void) => {
    inAll -= kept.get(cut) ?? 0
    kept.delete(cut)
  }
  return {
    begin: (onCut) => {
      let ended = false
      const cut = () => {
        ended = true
        drop(cut)
        onCut()
      }
      return {
        add: (bytes) => {
          if (ended || bytes === 0) return
          kept.set(cut, (kept.get(cut) ?? 0) + bytes)
          inAll += bytes
          for (const slowest of kept.keys()) {
            if (inAll <= maxBytes) return
            slowest()
          }
        },
        end: () => {
          ended = true
          drop(cut)
        },
      }
    },
  }
}
