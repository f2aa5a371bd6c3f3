import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'

import { useConnection } from '../api/connection.ts'
import { useCall } from '../api/use-call.ts'
import { useNow } from '../ui/when.tsx'
import { orgState } from './org-state.ts'

const EVERY_MS = 5000
/** A few of them may be late. */
const OLD_AFTER_MS = 20_000

/** What every page shows of the org. Asked all the time, so that it is noticed when nobody answers any more. */
export function useUsage() {
  return useCall('usage', {}, { everyMs: EVERY_MS })
}

/**
 * Whether what is shown of the org is of now: it was answered, not refused, and not long ago, such as before this
 * machine slept.
 */
export function useIsCurrent(): boolean {
  const { error, dataUpdatedAt } = useUsage()
  const { reachable } = useConnection()
  const nowMs = useNow(1000)
  return reachable && error === null && nowMs - dataUpdatedAt < OLD_AFTER_MS
}

export function useOrgState() {
  const { data } = useUsage()
  const { reachable } = useConnection()
  return orgState(data, reachable, useIsCurrent())
}

/** When the control plane answers again, everything that is shown is asked for again at once. */
export function useAskAgainWhenBack(): void {
  const client = useQueryClient()
  const { reachable } = useConnection()
  const before = useRef(reachable)
  useEffect(() => {
    if (reachable && !before.current) void client.invalidateQueries()
    before.current = reachable
  }, [reachable, client])
}
