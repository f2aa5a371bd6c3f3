import { Alert, Button, Group, Stack, Text } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'

import { ApiError } from '../../api/api-error.ts'
import { call } from '../../api/call.ts'
import { mayRestore } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { ChangeDialog, type ChangeInput } from '../../ui/change/change-dialog.tsx'
import { count } from '../../ui/count.ts'
import { focusTitle } from '../../ui/focus-title.ts'
import { DeviceLines } from './device-lines.tsx'
import { inChunks, restorePlan, stillDenied, type RestorePlan, type RestoreRow } from './restore-plan.ts'
import { Restored } from './restored.tsx'
import { useStopSet } from './use-stop-set.ts'

/** Gives back exactly what one stop took away. */
export function RestoreDevices({ epoch }: { readonly epoch: number }) {
  const set = useStopSet(epoch)
  return <Answer of={set}>{(devices) => <RestoreSet epoch={epoch} plan={restorePlan(devices)} />}</Answer>
}

function RestoreSet({ epoch, plan }: { readonly epoch: number; readonly plan: RestorePlan }) {
  const [opened, setOpened] = useState(false)
  const session = useSession()
  const client = useQueryClient()
  const { items } = plan
  const reload = () => {
    for (const name of ['stopSet', 'devices', 'usage', 'stopHistory', 'locks'])
      void client.invalidateQueries({ queryKey: [name] })
  }
  const close = () => {
    setOpened(false)
    if (items.length === 0) focusTitle()
  }
  const submit = async ({ reason }: ChangeInput) => {
    const rows: RestoreRow[] = []
    let failed: ApiError | undefined
    for (const chunk of inChunks(items)) {
      try {
        rows.push(...(await call('unrevokeBatch', { items: chunk, reason })).results)
      } catch (error) {
        // What came back before has come back: it is shown with what went wrong.
        if (!(error instanceof ApiError) || rows.length === 0) throw error
        failed = error
        break
      }
    }
    reload()
    return <Restored rows={rows} asked={items.length} failed={failed} />
  }
  return (
    <Stack gap="sm" align="flex-start">
      <WhatComesBack plan={plan} />
      {items.length > 0 && mayRestore(session) && (
        <Button color="teal.9" onClick={() => setOpened(true)}>
          Restore {count(items.length, 'device')} …
        </Button>
      )}
      {items.length > 0 && !mayRestore(session) && (
        <Text size="sm">A key of kind {session.kind} stops, and restores nothing: ask an operator.</Text>
      )}
      <ChangeDialog
        title={`Restore what was stopped in epoch ${epoch}`}
        opened={opened}
        onClose={close}
        confirm={`Restore ${count(items.length, 'device')}`}
        tone="restore"
        reason={items.length > 1 ? 'required' : 'optional'}
        waits={items.length === 0}
        submit={submit}
        onStale={reload}
      >
        <WhatComesBack plan={plan} listed />
      </ChangeDialog>
    </Stack>
  )
}

function WhatComesBack({
  plan: { items, left },
  listed = false,
}: {
  readonly plan: RestorePlan
  /** Device by device. */
  readonly listed?: boolean
}) {
  const usage = useCall('usage', {})
  const locks = useCall('locks', {})
  const orgDisabled = usage.data?.org.disabled ?? false
  const lockPatterns = (locks.data?.locks ?? []).map(({ pattern }) => pattern)
  const denied = stillDenied(items, { orgDisabled, lockPatterns })
  return (
    <Stack gap="sm" w="100%">
      <Text size="sm">
        {items.length === 0
          ? 'Nothing is left that this stop alone still holds, so there is nothing to restore.'
          : `${count(items.length, 'device')} would come back, and nothing else. Left out is what was revoked already before this stop, or was changed since.`}
      </Text>
      {items.length > 0 && listed && <DeviceLines label="Devices that come back" devices={items} />}
      {denied.length > 0 && (
        <Alert color="orange" variant="outline" title="Some would still be denied">
          {denied.map(({ by, devices }) => (
            <Group key={by} gap={4}>
              <Text size="sm" className="untrusted">
                {count(devices, 'device')} by {by}.
              </Text>
            </Group>
          ))}
        </Alert>
      )}
      {left.length > 0 && (
        <>
          <Text size="sm">{count(left.length, 'device')} of this stop would be left as they are:</Text>
          <DeviceLines label="Devices that are left alone" devices={left} />
        </>
      )}
    </Stack>
  )
}
