const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const
const relative = new Intl.RelativeTimeFormat('en', { style: 'short' })

/** `5 min. ago`, `in 2 hr.`, `now`. */
export function relativeTime(atMs: number, nowMs: number): string {
  const differenceMs = atMs - nowMs
  const [unit, unitMs] = UNITS.find(([, ms]) => Math.abs(differenceMs) >= ms) ?? []
  if (unit === undefined) return 'now'
  return relative.format(Math.round(differenceMs / unitMs), unit)
}
