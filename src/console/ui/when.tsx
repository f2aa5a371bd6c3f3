import { useEffect, useState } from 'react'

import { relativeTime } from './relative-time.ts'

const absolute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })

export function absoluteTime(at: string): string {
  return absolute.format(new Date(at))
}

/** `14:05:09`. */
export function timeOfDay(at: string | number): string {
  return clock.format(new Date(at))
}

/** `14:05:09`, and with its day where that is not today. */
export function timeOfLate(at: string | number): string {
  const isToday = new Date(at).toDateString() === new Date().toDateString()
  return (isToday ? clock : absolute).format(new Date(at))
}

/** How long ago, or with `ahead` until when; exact when pointed at. What has happened is not told as to come. */
export function When({ at, ahead = false }: { readonly at: string | null; readonly ahead?: boolean }) {
  const nowMs = useNow(10_000)
  if (at === null) return <span>never</span>
  const atMs = Date.parse(at)
  return (
    <time dateTime={at} title={absoluteTime(at)}>
      {relativeTime(ahead ? atMs : Math.min(atMs, nowMs), nowMs)}
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
