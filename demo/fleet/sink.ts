/** The world: what has really happened, and how often. */
export interface Sink {
  readonly happened: (id: string) => void
  /** A unit that failed after its effect, or got no answer, was tried again; its effect was there already. */
  readonly retried: () => void
  readonly replayed: () => void
  /** Paused work went on. */
  readonly resumed: (id: string) => void
  /** Nobody can tell whether it happened. */
  readonly unknown: () => void
  readonly counts: () => SinkCounts
}

export interface SinkCounts {
  readonly effects: number
  readonly retried: number
  readonly replayed: number
  readonly resumed: number
  readonly unknown: number
  /** Effects, and paused work, that happened more than once: must be 0. */
  readonly twice: number
}

export function createSink(): Sink {
  const effects = new Map<string, number>()
  const resumes = new Map<string, number>()
  const counts = { retried: 0, replayed: 0, unknown: 0 }
  const add = (to: Map<string, number>, id: string) => void to.set(id, (to.get(id) ?? 0) + 1)
  return {
    happened: (id) => add(effects, id),
    resumed: (id) => add(resumes, id),
    retried: () => void counts.retried++,
    replayed: () => void counts.replayed++,
    unknown: () => void counts.unknown++,
    counts: () => ({
      ...counts,
      effects: effects.size,
      resumed: resumes.size,
      twice: [...effects.values(), ...resumes.values()].filter((times) => times > 1).length,
    }),
  }
}
