import { Alert } from '@mantine/core'

import { useCall } from '../../api/use-call.ts'

/** Nothing is decided while the org is disabled. */
export function Frozen() {
  const usage = useCall('usage', {}, { everyMs: 5000 })
  if (usage.data?.org.disabled !== true) return null
  return (
    <Alert color="red" variant="outline" title="Frozen: the org is disabled">
      What waits can be looked at and not decided. It goes on to expire meanwhile. Once the org is enabled
      again, what still waits can be decided.
    </Alert>
  )
}
