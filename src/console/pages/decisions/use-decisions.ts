import { startTransition, useCallback, useEffect, useMemo, useRef, useState } from 'react'

import { useFeed } from '../../api/live.ts'
import type { Input } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { merged, type Decision } from './feed-list.ts'

const FIRST = 100
/** Many come at once: the page is drawn for all of them together. */
const DRAW_EVERY_MS = 250
/** With so many at once, such as after a stop of everything, less often: whoever is here has other things to press. */
const STORM = 100
const STORM_EVERY_MS = 1500

export type DecisionFilters = Pick<Input<'decisions'>, 'device' | 'code' | 'boundary' | 'allowed'>

/** The newest decisions that fit, kept up to date until it is paused. */
export function useDecisions(filters: DecisionFilters) {
  const first = useCall('decisions', { ...filters, limit: FIRST })
  const [news, setNews] = useState<readonly Decision[]>([])
  const [waiting, setWaiting] = useState<readonly Decision[]>([])
  const [paused, setPaused] = useState(false)
  const [missed, setMissed] = useState<string>()
  const come = useRef<Decision[]>([])

  const stored = first.data?.decisions
  const shown = useMemo(() => merged(news, stored ?? []), [news, stored])

  const query = queryOf(filters)
  const { refetch } = first
  useFeed(
    query,
    {
      onEvent: (event) => {
        if (event.type === 'decision') come.current.push(event.decision)
        if (event.type === 'missed') setMissed(event.message)
      },
      onOpen: (after) => {
        // What was decided between the list and the feed is in neither.
        if (after === 'start') void refetch()
        // What is listed anew leaves no gap; what was kept while it was paused has one.
        else if (paused) setMissed('What was decided while this page was not listening is not kept here.')
        else setNews([])
      },
    },
    first.isSuccess,
  )
  useEffect(() => {
    let drawnAtMs = 0
    const timer = window.setInterval(() => {
      const isStorm = come.current.length > STORM
      if (come.current.length === 0 || (isStorm && performance.now() - drawnAtMs < STORM_EVERY_MS)) return
      drawnAtMs = performance.now()
      const fresh = come.current.splice(0)
      const set = paused ? setWaiting : setNews
      startTransition(() => set((known) => merged(known, fresh)))
    }, DRAW_EVERY_MS)
    return () => window.clearInterval(timer)
  }, [paused])

  const resume = useCallback(() => {
    setPaused(false)
    setNews((known) => merged(known, waiting))
    setWaiting([])
  }, [waiting])
  const reload = useCallback(() => {
    setMissed(undefined)
    // What was gathered before has the gap.
    setNews([])
    setWaiting([])
    void refetch()
  }, [refetch])
  return {
    first,
    shown,
    paused,
    pause: () => setPaused(true),
    resume,
    waiting: waiting.length,
    missed,
    reload,
  }
}

function queryOf(filters: DecisionFilters): string {
  const given = Object.entries(filters).filter((pair): pair is [string, string] => pair[1] !== undefined)
  return new URLSearchParams([['types', 'decision'], ...given]).toString()
}
