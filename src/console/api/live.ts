import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'

import type { FeedEventBody } from '../../machineid/wire-evidence.ts'
import { PATHS } from '../../machineid/paths.ts'
import type { CallName } from './routes.ts'

const AGAIN_MS = 3000

export interface FeedListener {
  readonly onEvent: (event: FeedEventBody) => void
  /** It listens: from now on nothing is missed, and what came `after` a time without it is not told. */
  readonly onOpen?: ((after: 'start' | 'silence') => void) | undefined
}

/**
 * Listens to the feed while the component is there and its page is seen: over HTTP/1.1 a browser has six connections to
 * one server for all of its tabs, and pages in the background would leave none for a stop. The browser comes back by
 * itself, from the last event it saw.
 */
export function useFeed(query: string, { onEvent, onOpen }: FeedListener, enabled = true): void {
  const client = useQueryClient()
  const latest = useRef({ onEvent, onOpen })
  useEffect(() => {
    latest.current = { onEvent, onOpen }
  })
  useEffect(() => {
    if (!enabled) return undefined
    let timer: number | undefined
    const listen = ({ data }: MessageEvent<string>) =>
      latest.current.onEvent(JSON.parse(data) as FeedEventBody)
    const open = () => {
      const opened = new EventSource(query === '' ? PATHS.feed : `${PATHS.feed}?${query}`)
      for (const type of ['decision', 'change', 'overdue', 'missed'] as const)
        opened.addEventListener(type, listen)
      opened.addEventListener('error', () => {
        // Nobody answers any more, or nobody is signed in any more: that is found out now, not with the next poll.
        void client.refetchQueries({ queryKey: ['usage'] }, { cancelRefetch: false })
        if (opened.readyState === EventSource.CLOSED) timer = window.setTimeout(comeBack, AGAIN_MS)
      })
      return opened
    }
    const begin = () => {
      const opened = open()
      opened.addEventListener('open', () => latest.current.onOpen?.('start'), { once: true })
      return opened
    }
    let source = document.visibilityState === 'visible' ? begin() : undefined
    // From an answer that is no stream, such as a proxy's, no browser comes back. What was missed is asked for.
    const comeBack = () => {
      source = open()
      const ask = () => {
        latest.current.onOpen?.('silence')
        void client.invalidateQueries()
      }
      source.addEventListener('open', ask, { once: true })
    }
    const rest = () => {
      window.clearTimeout(timer)
      source?.close()
    }
    const onSeen = () => {
      rest()
      if (document.visibilityState === 'visible') comeBack()
    }
    document.addEventListener('visibilitychange', onSeen)
    return () => {
      document.removeEventListener('visibilitychange', onSeen)
      rest()
    }
  }, [query, enabled, client])
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
    {
      onEvent: () => {
        // Many changes come at once: one question for all of them.
        timer.current ??= window.setTimeout(() => {
          timer.current = undefined
          void client.invalidateQueries({
            predicate: ({ queryKey }) => CHANGED.includes(queryKey[0] as CallName),
          })
        }, 150)
      },
    },
    enabled,
  )
  useEffect(() => () => window.clearTimeout(timer.current), [])
}
