import { useEffect, useState } from 'react'

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' })
const absolute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })

/** `5 min. ago`, `in 2 hr.`. */
export function relativeTime(atMs: number, nowMs: number): string {
  const differenceMs = atMs - nowMs
  const [unit, unitMs] = UNITS.find(([, ms]) => Math.abs(differenceMs) >= ms) ?? ['second', 1000]
  return relative.format(Math.round(differenceMs / unitMs), unit)
}

export function absoluteTime(at: string): string {
  return absolute.format(new Date(at))
}

/** `14:05:09`. */
export function timeOfDay(at: string | number): string {
  return clock.format(new Date(at))
}

/** How long ago, or until when; exact when pointed at. */
export function When({ at }: { readonly at: string | null }) {
  const nowMs = useNow(10_000)
  if (at === null) return <span>never</span>
  return (
    <time dateTime={at} title={absoluteTime(at)}>
      {relativeTime(Date.parse(at), nowMs)}
    </time>
  )
}

/** The time, again every so often. */
export function useNow(everyMs: number): number {
  const [nowMs, setNowMs] = useState(() => Date.now())
  useEffect(() => {
    const timer = window.setInterval(() => setNowMs(Date.now()), everyMs)
    return () => window.clearInterval(timer)
  }, [everyMs])
  return nowMs
}
