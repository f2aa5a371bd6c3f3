import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'

import { useConnection } from '../api/connection.ts'
import { useCall } from '../api/use-call.ts'
import { orgState } from './org-state.ts'

const EVERY_MS = 5000

/** What every page shows of the org. Asked all the time, so that it is noticed when nobody answers any more. */
export function useUsage() {
  return useCall('usage', {}, { everyMs: EVERY_MS })
}

export function useOrgState() {
  const { data } = useUsage()
  const { reachable } = useConnection()
  return orgState(data, reachable)
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
