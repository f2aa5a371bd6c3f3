import { Stack } from '@mantine/core'

import { call } from '../../../api/call.ts'
import { BlastRadius } from '../../../ui/change/blast-radius.tsx'
import { ChangeDialog, type ChangeInput } from '../../../ui/change/change-dialog.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { MAX_CHUNK } from '../batch.ts'
import { AfterStop } from './after-stop.tsx'
import { BatchResults } from './batch-results.tsx'
import type { DialogProps } from './dialogs.tsx'
import { movedBetween } from './epoch-moved.ts'
import { useBatch } from './use-batch.tsx'
import { usePreviewOfMany } from './use-preview-of-many.ts'

export function RevokeDialog({
  deviceIds,
  data,
  opened,
  begin,
  end,
}: DialogProps & { readonly deviceIds: readonly string[] }) {
  const preview = usePreviewOfMany(deviceIds, { enabled: opened })
  const batch = useBatch()
  const [only] = deviceIds.length === 1 ? deviceIds : []

  const submit = async (about: ChangeInput) => {
    const previewed = preview.data?.orgEpoch
    if (only !== undefined) {
      const { epoch, orgEpoch } = await call('revoke', { deviceId: only, ...about })
      void data.renew()
      return (
        <AfterStop epochs={[epoch]} moved={movedBetween(previewed, orgEpoch, 1)}>
          <Untrusted text={only} mono /> is revoked.
        </AfterStop>
      )
    }
    const epochs: number[] = []
    const results = await batch.run({
      items: deviceIds.map((deviceId) => ({ deviceId })),
      chunkSize: MAX_CHUNK,
      run: async (chunk) => {
        const answer = await call('revokeBatch', {
          deviceIds: chunk.map(({ deviceId }) => deviceId),
          ...about,
        })
        if (answer.changed > 0) epochs.push(answer.orgEpoch)
        return answer.results.map(({ deviceId, ok, code }) => ({
          deviceId,
          outcome: ok ? ('done' as const) : ('refused' as const),
          code,
        }))
      },
    })
    void data.renew()
    return (
      <Stack>
        <BatchResults
          results={results}
          verb="revoked"
          onAgain={(left) => begin({ is: 'revoke', deviceIds: left })}
        />
        <AfterStop epochs={epochs} moved={movedBetween(previewed, epochs.at(-1), epochs.length)}>
          They stay revoked until they are restored.
        </AfterStop>
      </Stack>
    )
  }
  return (
    <ChangeDialog
      title={
        only === undefined ? `Revoke ${deviceIds.length.toLocaleString('en')} devices` : 'Revoke a device'
      }
      opened={opened}
      onClose={() => !batch.isRunning && end()}
      confirm={only === undefined ? `Revoke ${deviceIds.length.toLocaleString('en')} devices` : 'Revoke'}
      reason={only === undefined ? 'required' : 'optional'}
      withReminder
      waits={preview.isPending}
      submit={submit}
    >
      <BlastRadius of={preview} />
      {batch.progress}
    </ChangeDialog>
  )
}
