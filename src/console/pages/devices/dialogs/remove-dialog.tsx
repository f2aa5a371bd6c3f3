import { Stack, Text } from '@mantine/core'

import { call, type PreviewAnswer } from '../../../api/call.ts'
import { BlastRadius } from '../../../ui/change/blast-radius.tsx'
import { ChangeDialog, type ChangeInput } from '../../../ui/change/change-dialog.tsx'
import { AfterStop } from './after-stop.tsx'
import { BatchResults } from './batch-results.tsx'
import type { DialogProps } from './dialogs.tsx'
import { movedBetween } from './epoch-moved.ts'
import { useBatch } from './use-batch.tsx'
import { usePreviewOfMany } from './use-preview-of-many.ts'

/** Removing denies those that revoking would, with another code: so that its preview serves for many at once. */
export function RemoveDialog({
  deviceIds,
  data,
  opened,
  begin,
  end,
}: DialogProps & { readonly deviceIds: readonly string[] }) {
  const preview = usePreviewOfMany(deviceIds, { enabled: opened, select: asRemoved })
  const batch = useBatch()
  const many = deviceIds.length > 1
  const what = many ? `${deviceIds.length.toLocaleString('en')} devices` : 'a device'

  const submit = async ({ reason }: ChangeInput) => {
    const previewed = preview.data?.orgEpoch
    const epochs: number[] = []
    const results = await batch.run({
      items: deviceIds.map((deviceId) => ({ deviceId })),
      chunkSize: 1,
      run: async ([item]) => {
        if (item === undefined) return []
        const { orgEpoch } = await call('remove', { deviceId: item.deviceId, reason })
        epochs.push(orgEpoch)
        return [{ deviceId: item.deviceId, outcome: 'done' as const }]
      },
    })
    void data.renew()
    return (
      <Stack>
        <BatchResults
          results={results}
          verb="removed"
          onAgain={(left) => begin({ is: 'remove', deviceIds: left })}
        />
        <AfterStop epochs={epochs} moved={movedBetween(previewed, epochs.at(-1), epochs.length)}>
          What is removed stays denied.
        </AfterStop>
      </Stack>
    )
  }
  return (
    <ChangeDialog
      title={`Remove ${what}`}
      opened={opened}
      onClose={() => !batch.isRunning && end()}
      confirm={many ? `Remove ${what}` : 'Remove'}
      reason={many ? 'required' : 'optional'}
      waits={preview.isPending}
      submit={submit}
    >
      <Text size="sm">
        This frees {many ? 'their slots' : 'its slot'} and takes {many ? 'them' : 'it'} off this list. The{' '}
        {many ? 'IDs stay' : 'ID stays'} denied; to bring {many ? 'one' : 'it'} back, register it again.
      </Text>
      <BlastRadius of={preview} />
      {batch.progress}
    </ChangeDialog>
  )
}

function asRemoved(preview: PreviewAnswer): PreviewAnswer {
  const devices = preview.devices.map((device) => ({
    ...device,
    then: device.then === 'DEVICE_REVOKED' ? 'DEVICE_REMOVED' : device.then,
  }))
  return { ...preview, devices }
}
