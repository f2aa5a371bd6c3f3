import { Button, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQueryClient } from '@tanstack/react-query'

import { call } from '../api/call.ts'
import { mayStop } from '../api/roles.ts'
import { useSession } from '../api/session-state.ts'
import { BlastRadius } from '../ui/change/blast-radius.tsx'
import { usePreview } from '../ui/change/use-preview.ts'
import { ChangeDialog } from '../ui/change/change-dialog.tsx'
import { StopConfirmation } from '../ui/change/stop-confirmation.tsx'

const TITLE = 'Stop everything'

/** The one action that is on every page. What it hits is shown, and never waited for: the stop goes first. */
export function StopEverything() {
  const may = mayStop(useSession())
  const [opened, { open, close }] = useDisclosure()
  const client = useQueryClient()
  const preview = usePreview('orgDisable', {}, opened)
  if (!may) return null
  return (
    <>
      <Button color="red" size="xs" onClick={open} className="stop-everything">
        {TITLE}
      </Button>
      <ChangeDialog
        title={TITLE}
        opened={opened}
        onClose={close}
        confirm={TITLE}
        reason="required"
        submit={async ({ reason }) => {
          const before = preview.data?.orgEpoch
          const { epoch } = await call('orgDisable', reason === undefined ? {} : { reason })
          void client.invalidateQueries()
          return (
            <Stack gap="sm">
              <Text fw={600}>
                The org is disabled, with epoch {epoch}. From now on every hold point denies.
              </Text>
              {before !== undefined && epoch !== before + 1 && (
                <Text size="sm">Something else was stopped or restored since this form was opened.</Text>
              )}
              <StopConfirmation epoch={epoch} />
            </Stack>
          )
        }}
      >
        <Text size="sm">
          Disables the whole org: every device is denied at its next hold point, and calls in flight are told
          to stop. Nothing that has finished is undone. Only an admin can enable it again.
        </Text>
        <BlastRadius of={preview} />
      </ChangeDialog>
    </>
  )
}
