import { Alert, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'

import { useConnection } from '../api/connection.ts'
import { Failed } from '../ui/answer.tsx'
import { WAY_ROUND } from '../ui/way-round.ts'
import { timeOfLate } from '../ui/when.tsx'
import { LockedBanner } from './locked-banner.tsx'
import { OrgDisabledBanner } from './org-disabled-banner.tsx'
import { isPlanActive } from './org-state.ts'
import { RestoreOrg } from './restore-org.tsx'
import { SessionKeeper } from './session-keeper.tsx'
import { useUsage } from './use-org.ts'

/** What everybody has to know on every page. */
export function Banners() {
  const { data: usage, error, refetch } = useUsage()
  const [opened, { open, close }] = useDisclosure()
  return (
    <Stack gap="xs" className="banners">
      <UnreachableBanner />
      {usage !== undefined && error !== null && error.status !== 0 && (
        <Failed error={error} retry={() => void refetch()} stale />
      )}
      <SessionKeeper />
      {usage?.org.disabled === true && <OrgDisabledBanner org={usage.org} onRestore={open} />}
      {usage !== undefined && !isPlanActive(usage) && (
        <Alert
          color="red"
          variant="filled"
          role="alert"
          title="The plan is not active: every call is denied."
        >
          <Text size="sm">
            It is {usage.planState}. No hold point is passed until whoever runs this control plane sets it to
            active.
          </Text>
        </Alert>
      )}
      {usage !== undefined && usage.locks > 0 && <LockedBanner />}
      {/* It outlives the banner, to say what came of it. */}
      {usage !== undefined && <RestoreOrg opened={opened} onClose={close} org={usage.org} />}
    </Stack>
  )
}

function UnreachableBanner() {
  const { reachable, answeredAtMs } = useConnection()
  if (reachable) return null
  const from = answeredAtMs === undefined ? '' : ` What you see is from ${timeOfLate(answeredAtMs)}.`
  return (
    <Alert
      color="orange"
      variant="outline"
      role="alert"
      title="The console cannot reach the control plane."
      className="unreachable"
    >
      <Text size="sm">
        {`Whether anything is allowed or stopped right now is not known here.${from} The console tries again every few seconds. ${WAY_ROUND}`}
      </Text>
    </Alert>
  )
}
