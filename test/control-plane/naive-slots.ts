/** Slots as DESIGN describes them, in the plainest way: the lowest free one is taken, and none ever moves. */
export interface NaiveSlots {
  readonly slots: Map<string, number>
  cap: number
  /** Undefined when the plan is full. */
  readonly take: (deviceId: string) => number | undefined
  readonly free: (deviceId: string) => void
  readonly within: (deviceId: string) => boolean
}

export function naiveSlots(cap: number): NaiveSlots {
  const slots = new Map<string, number>()
  const naive: NaiveSlots = {
    slots,
    cap,
    take: (deviceId) => {
      if (slots.size >= naive.cap) return undefined
      let slot = 1
      while ([...slots.values()].includes(slot)) slot++
      slots.set(deviceId, slot)
      return slot
    },
    free: (deviceId) => void slots.delete(deviceId),
    within: (deviceId) => (slots.get(deviceId) ?? Number.POSITIVE_INFINITY) <= naive.cap,
  }
  return naive
}
