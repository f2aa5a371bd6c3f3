import { Alert, Anchor, Text } from '@mantine/core'
import { Link } from 'wouter'

import { useCall } from '../api/use-call.ts'
import { Failed } from '../ui/answer.tsx'
import { Untrusted } from '../ui/untrusted.tsx'
import { When } from '../ui/when.tsx'
import { Who } from '../ui/who.tsx'
import { isOfEverything } from './org-state.ts'

const EVERY_MS = 15_000

/** A lock of everything is as good as the org's switch. */
export function LockedBanner() {
  const { data, error } = useCall('locks', {}, { everyMs: EVERY_MS })
  // Whether one of them stops everything is then not known.
  if (data === undefined && error !== null) return <Failed error={error} />
  const locks = data?.locks.filter(({ active, pattern }) => active && isOfEverything(pattern)) ?? []
  return locks.map(({ lockId, pattern, by, reason, changedAt }) => (
    <Alert
      key={lockId}
      color="red"
      variant="filled"
      role="alert"
      title={`A lock stops every device: ${pattern}`}
    >
      <Text size="sm" component="div">
        Locked by <Who by={by} /> <When at={changedAt} />: <Untrusted text={reason} />{' '}
        <Anchor component={Link} href="/stops" c="inherit" underline="always">
          Release it under Stops
        </Anchor>
      </Text>
    </Alert>
  ))
}
