import { Alert, ScrollArea, Stack, Text } from '@mantine/core'
import { useState } from 'react'

import { call } from '../../../api/call.ts'
import { count } from '../../../ui/count.ts'
import { ChangeDialog, type ChangeInput } from '../../../ui/change/change-dialog.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { When } from '../../../ui/when.tsx'
import { MAX_CHUNK, type DeviceResult } from '../batch.ts'
import { deniedByInWords, type Device } from '../device-state.ts'
import { BatchResults } from './batch-results.tsx'
import type { DialogProps } from './dialogs.tsx'
import { StillHeld } from './still-held.tsx'
import { useBatch } from './use-batch.tsx'

const NAMED = 200

/** G6: each device against its epoch as it is shown here, and nothing shown here changes by itself. */
export function RestoreDialog({
  deviceIds,
  data,
  opened,
  begin,
  end,
}: DialogProps & { readonly deviceIds: readonly string[] }) {
  const [shown, setShown] = useState(() => devicesOf(deviceIds, data.devices))
  const batch = useBatch()
  const revoked = shown.filter((device) => device.revoked)
  const others = deviceIds.length - revoked.length

  const lookAgain = async () => {
    const { devices } = await data.renew()
    setShown(devicesOf(deviceIds, devices))
  }
  const submit = async ({ reason }: ChangeInput) => {
    const [only] = revoked.length === 1 ? revoked : []
    if (only !== undefined) {
      const { deviceId, epoch: ifEpoch } = only
      const { epoch, stillDeniedBy = [] } = await call('unrevoke', { deviceId, ifEpoch, reason })
      await data.renew()
      return (
        <Stack>
          <Text size="sm" component="div">
            <Untrusted text={deviceId} mono /> is restored at epoch {epoch}.{' '}
            {stillDeniedBy.length > 0 && `It is still denied: ${deniedByInWords(stillDeniedBy)}.`}
          </Text>
          <StillHeld devices={[only]} data={data} begin={begin} after />
        </Stack>
      )
    }
    const results = await batch.run({
      items: revoked.map(({ deviceId, epoch }) => ({ deviceId, ifEpoch: epoch })),
      chunkSize: MAX_CHUNK,
      run: async (items) => {
        const answer = await call('unrevokeBatch', { items: [...items], reason })
        return answer.results.map(resultOf)
      },
    })
    await data.renew()
    return (
      <Stack>
        <BatchResults
          results={results}
          verb="restored"
          onAgain={(left) => begin({ is: 'restore', deviceIds: left })}
        />
        <StillHeld devices={revoked} data={data} begin={begin} after />
      </Stack>
    )
  }
  const many = revoked.length > 1
  return (
    <ChangeDialog
      title={many ? `Restore ${count(revoked.length, 'device')}` : 'Restore a device'}
      opened={opened}
      onClose={() => !batch.isRunning && end()}
      confirm={many ? `Restore ${count(revoked.length, 'device')}` : 'Restore'}
      tone="restore"
      reason={many ? 'required' : 'optional'}
      waits={revoked.length === 0}
      submit={submit}
      onStale={() => void lookAgain()}
    >
      <Alert color="teal" variant="outline" title={`This restores ${count(revoked.length, 'device')}`}>
        <Stack gap={4}>
          {others > 0 && (
            <Text size="sm">{`${count(others, 'more device')} that you chose ${others === 1 ? 'is' : 'are'} not revoked, and ${others === 1 ? 'is' : 'are'} left as it is.`}</Text>
          )}
          <ScrollArea.Autosize
            mah={160}
            type="auto"
            viewportProps={{ tabIndex: 0, role: 'region', 'aria-label': 'Devices that are restored' }}
          >
            {revoked.slice(0, NAMED).map(({ deviceId, reason, changedAt }) => (
              <Text key={deviceId} size="xs" component="div">
                <Untrusted text={deviceId} mono /> revoked <When at={changedAt} />
                {reason !== null && (
                  <>
                    : <Untrusted text={reason} />
                  </>
                )}
              </Text>
            ))}
            {revoked.length > NAMED && <Text size="xs">and {revoked.length - NAMED} more</Text>}
          </ScrollArea.Autosize>
        </Stack>
      </Alert>
      <StillHeld devices={revoked.length === 0 ? shown : revoked} data={data} begin={begin} />
      {batch.progress}
    </ChangeDialog>
  )
}

function devicesOf(deviceIds: readonly string[], devices: readonly Device[]): readonly Device[] {
  const wanted = new Set(deviceIds)
  return devices.filter(({ deviceId }) => wanted.has(deviceId))
}

function resultOf(result: {
  readonly deviceId: string
  readonly ok: boolean
  readonly code?: string | undefined
  readonly stillDeniedBy?: readonly string[] | undefined
}): DeviceResult {
  const { deviceId, ok, code, stillDeniedBy } = result
  return { deviceId, outcome: ok ? 'done' : 'refused', code, stillDeniedBy }
}
