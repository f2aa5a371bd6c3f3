import { Alert, Stack, Text } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'

import { call } from '../api/call.ts'
import type { Output } from '../api/routes.ts'
import { ChangeDialog } from '../ui/change/change-dialog.tsx'
import { count } from '../ui/count.ts'
import { OrgStop } from '../ui/org-stop.tsx'
import { useUsage } from './use-org.ts'

type OrgSwitch = Output<'usage'>['org']

interface Props {
  readonly opened: boolean
  readonly onClose: () => void
  readonly org: OrgSwitch
}

/** Switches the org on again, if it is still the stop that the form was opened on (G6). */
export function RestoreOrg(props: Props) {
  // Another one each time it is opened: what it shows, and the epoch it sends, are those of that moment.
  return props.opened ? <OpenedRestore {...props} /> : null
}

function OpenedRestore({ opened, onClose, org }: Props) {
  const client = useQueryClient()
  const { data: usage, refetch } = useUsage()
  const [shown, setShown] = useState(org)
  const reload = async () => {
    const { data } = await refetch()
    if (data !== undefined) setShown(data.org)
  }
  return (
    <ChangeDialog
      title="Enable the org"
      opened={opened}
      onClose={onClose}
      confirm="Enable the org"
      tone="restore"
      reason="optional"
      waits={!shown.disabled}
      onStale={() => void reload()}
      submit={async ({ reason }) => {
        const { epoch } = await call('orgEnable', {
          ifEpoch: shown.epoch,
          ...(reason !== undefined && { reason }),
        })
        void client.invalidateQueries()
        return <Text>The org is enabled, with epoch {epoch}. What was stopped before it still is.</Text>
      }}
    >
      <Alert color="teal" variant="outline" title="This lets every device ask again">
        <Stack gap={4}>
          <Text size="sm" component="div">
            {shown.disabled ? (
              <OrgStop org={shown} />
            ) : (
              'Somebody else has enabled it already: there is nothing to restore.'
            )}
          </Text>
          {usage !== undefined && (
            <Text size="sm">
              {count(usage.devicesUsed, 'device')} of the org; {count(usage.revoked, 'revoked device')} and{' '}
              {count(usage.locks, 'lock')} stay stopped.
            </Text>
          )}
        </Stack>
      </Alert>
    </ChangeDialog>
  )
}
