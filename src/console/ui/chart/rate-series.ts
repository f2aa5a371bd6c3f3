import type { Output } from '../../api/routes.ts'

const MINUTE_MS = 60_000
export const MINUTES = 60
/** In the order in which a call meets them; what names none comes last. */
const ORDER = ['startup', 'task', 'tool', 'side_effect', 'resume']

export interface RateSeries {
  /** Null where a question named none. */
  readonly boundary: string | null
  /** Of each of the last 60 minutes, oldest first; the last one is not over yet. */
  readonly allowed: readonly number[]
  readonly denied: readonly number[]
  readonly allowedInAll: number
  readonly deniedInAll: number
}

/** One series for each boundary that was asked at in the last hour. */
export function rateSeries(rates: Pick<Output<'decisionRates'>, 'minutes'>, nowMs: number): RateSeries[] {
  const thisMinute = Math.floor(nowMs / MINUTE_MS)
  const found = new Map<string | null, { allowed: number[]; denied: number[] }>()
  for (const { at, counts } of rates.minutes) {
    const index = MINUTES - 1 - (thisMinute - Math.floor(Date.parse(at) / MINUTE_MS))
    // The clocks of the two machines need not agree to the minute.
    const slot = index >= MINUTES ? MINUTES - 1 : index
    if (slot < 0) continue
    for (const { boundary, allowed, count } of counts) {
      const series = found.get(boundary) ?? { allowed: zeros(), denied: zeros() }
      found.set(boundary, series)
      const side = allowed ? series.allowed : series.denied
      side[slot] = (side[slot] ?? 0) + count
    }
  }
  return [...found]
    .map(([boundary, { allowed, denied }]) => ({
      boundary,
      allowed,
      denied,
      allowedInAll: sum(allowed),
      deniedInAll: sum(denied),
    }))
    .sort((one, other) => rank(one.boundary) - rank(other.boundary))
}

/** The highest bar of all, so that all series have one scale. At least 1. */
export function highest(series: readonly RateSeries[]): number {
  return Math.max(1, ...series.flatMap(({ allowed, denied }) => [...allowed, ...denied]))
}

const zeros = (): number[] => Array.from({ length: MINUTES }, () => 0)
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

function rank(boundary: string | null): number {
  if (boundary === null) return ORDER.length + 1
  const index = ORDER.indexOf(boundary)
  return index === -1 ? ORDER.length : index
}
