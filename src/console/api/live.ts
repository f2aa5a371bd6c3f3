import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'

import type { FeedEventBody } from '../../machineid/wire-evidence.ts'
import { PATHS } from '../../machineid/paths.ts'
import type { CallName } from './routes.ts'

/** Listens to the feed while the component is there. The browser comes back by itself, from the last event it saw. */
export function useFeed(query: string, onEvent: (event: FeedEventBody) => void, enabled = true): void {
  const latest = useRef(onEvent)
  useEffect(() => {
    latest.current = onEvent
  })
  useEffect(() => {
    if (!enabled) return undefined
    const source = new EventSource(query === '' ? PATHS.feed : `${PATHS.feed}?${query}`)
    const listen = ({ data }: MessageEvent<string>) => latest.current(JSON.parse(data) as FeedEventBody)
    for (const type of ['decision', 'change', 'overdue', 'missed'] as const)
      source.addEventListener(type, listen)
    return () => source.close()
  }, [query, enabled])
}

/** What a change of the org may have changed. */
const CHANGED: readonly CallName[] = [
  'usage',
  'devices',
  'locks',
  'stopHistory',
  'stopSet',
  'keys',
  'approvals',
  'approval',
  'audit',
  'drills',
  'owners',
]

/** Asks again for what is shown as soon as the feed tells of a change. Without the feed the polls go on. */
export function useLiveUpdates(enabled: boolean): void {
  const client = useQueryClient()
  const timer = useRef<number | undefined>(undefined)
  useFeed(
    'types=change,overdue',
    () => {
      // Many changes come at once: one question for all of them.
      timer.current ??= window.setTimeout(() => {
        timer.current = undefined
        void client.invalidateQueries({
          predicate: ({ queryKey }) => CHANGED.includes(queryKey[0] as CallName),
        })
      }, 150)
    },
    enabled,
  )
  useEffect(() => () => window.clearTimeout(timer.current), [])
}
