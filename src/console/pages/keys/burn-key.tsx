import { Alert, Stack, Text } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'

import { call } from '../../api/call.ts'
import { useCall } from '../../api/use-call.ts'
import { BlastRadius } from '../../ui/change/blast-radius.tsx'
import { usePreview } from '../../ui/change/use-preview.ts'
import { ChangeDialog } from '../../ui/change/change-dialog.tsx'
import { asksForDevices, isLastWayIn } from './key-kinds.ts'
import { KeyName } from './key-name.tsx'
import type { KeyChangeProps } from './rotate-key.tsx'

export function BurnKey({ row, isOwn, opened, onClose }: KeyChangeProps) {
  const client = useQueryClient()
  const asks = asksForDevices(row.kind)
  const preview = usePreview('keyBurn', { id: row.keyId }, opened && asks)
  const hitsMany = (preview.data?.hits ?? 0) > 1
  return (
    <ChangeDialog
      title="Burn a key"
      opened={opened}
      onClose={onClose}
      confirm="Burn it"
      reason={hitsMany ? 'required' : 'optional'}
      waits={asks && preview.data === undefined && preview.error === null}
      submit={async ({ reason }) => {
        const previewed = preview.data?.orgEpoch
        const { epoch, orgEpoch } = await call('keyBurn', { id: row.keyId, reason })
        void client.invalidateQueries()
        return (
          <Stack gap="sm">
            <Text size="sm">
              Burned with epoch {epoch}. It is refused from now on, and nothing brings it back.
            </Text>
            {previewed !== undefined && orgEpoch !== previewed + 1 && (
              <Text size="sm">Something else was stopped or restored since this form was opened.</Text>
            )}
          </Stack>
        )
      }}
    >
      <Stack>
        <Text size="sm">
          <KeyName row={row} /> ({row.kind}) ends at once and for good. Burning is a stop: nobody is let in
          with it once this is answered. Sessions that were opened with it end, streams are closed.
        </Text>
        <LastWayIn row={row} />
        {isOwn && (
          <Alert color="red" variant="outline" title="This is the key that you are signed in with">
            <Text size="sm">Burning it signs you out. Have another key, or a sign-in link, at hand.</Text>
          </Alert>
        )}
        {asks && (
          <>
            <Text size="sm">
              These devices were last asked for with it. What asks for them with this key is denied, and what
              runs there is told to abort; with another key they can still be asked for.
            </Text>
            <BlastRadius of={preview} />
          </>
        )}
      </Stack>
    </ChangeDialog>
  )
}

function LastWayIn({ row }: Pick<KeyChangeProps, 'row'>) {
  const { data: known } = useCall('keys', {})
  const { data: owned } = useCall('owners', {})
  if (!isLastWayIn(row, known?.keys ?? [], owned?.owners)) return null
  return (
    <Alert color="red" variant="filled" title="This locks everybody out for good">
      <Text size="sm">
        It is the only admin key, and the org has no owner: nobody can make keys or enable the org again. Make
        another admin key or add an owner first, even if this one leaked.
      </Text>
    </Alert>
  )
}
