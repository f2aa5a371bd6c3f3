import { Alert, Stack, Text } from '@mantine/core'
import { useMemo, useState } from 'react'

import { call } from '../../../api/call.ts'
import { count } from '../../../ui/count.ts'
import { ChangeDialog, type ChangeInput } from '../../../ui/change/change-dialog.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { When } from '../../../ui/when.tsx'
import type { Lock } from '../device-state.ts'
import { heldBy } from '../locks-of.ts'
import type { DialogProps } from './dialogs.tsx'

/** G6: against the lock's epoch as it is shown here. */
export function ReleaseDialog({ lock: asked, data, opened, end }: DialogProps & { readonly lock: Lock }) {
  const [lock, setLock] = useState(asked)
  const { devices, locks: others, org } = data
  const { held, freed } = useMemo(
    () => heldBy(lock, { devices, locks: others, org }),
    [lock, devices, others, org],
  )

  const lookAgain = async () => {
    const { locks } = await data.renew()
    // Released and set again it is another lock, of the same pattern.
    const now =
      locks.find(({ lockId }) => lockId === lock.lockId) ??
      locks.find(({ pattern }) => pattern === lock.pattern)
    setLock(now ?? { ...lock, active: false })
  }
  const submit = async ({ reason }: ChangeInput) => {
    const { pattern, epoch } = await call('lockRelease', { id: lock.lockId, ifEpoch: lock.epoch, reason })
    await data.renew()
    return (
      <Text size="sm" component="div">
        The lock <Untrusted text={pattern} mono /> is released at epoch {epoch}. Devices that were revoked
        stay revoked.
      </Text>
    )
  }
  return (
    <ChangeDialog
      title="Release a lock"
      opened={opened}
      onClose={end}
      confirm="Release the lock"
      tone="restore"
      reason={held.length > 1 ? 'required' : 'optional'}
      waits={!lock.active}
      submit={submit}
      onStale={() => void lookAgain()}
    >
      <Alert
        color="teal"
        variant="outline"
        title={
          lock.active
            ? `This lets ${count(freed.length, 'device')} work again`
            : 'Somebody else has released this lock already.'
        }
      >
        <Stack gap={4}>
          <Text size="sm" component="div">
            <Untrusted text={lock.pattern} mono /> was locked <When at={lock.changedAt} /> by{' '}
            <Untrusted text={data.keyNames.get(lock.by) ?? lock.by} />: <Untrusted text={lock.reason} />
          </Text>
          <Text size="sm">
            {`${count(held.length, 'device')} ${held.length === 1 ? 'matches' : 'match'} it; ${count(held.length - freed.length, 'device')} of them ${held.length - freed.length === 1 ? 'is' : 'are'} denied by something else too. Devices that match and register later are allowed as well.`}
          </Text>
        </Stack>
      </Alert>
    </ChangeDialog>
  )
}
