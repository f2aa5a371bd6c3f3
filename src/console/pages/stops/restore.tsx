import { Code, Stack, Text } from '@mantine/core'

import type { StopBody } from '../../../machineid/wire-stops.ts'
import { restoreCommand } from '../../../next-commands.ts'
import { mayManage } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { plain } from '../../ui/plain.ts'
import { RestoreDevices } from './restore-devices.tsx'
import { RestoreLock, RestoreOrg } from './restore-switch.tsx'

/** What takes a stop back, where something can. */
export function Restore({ stop }: { readonly stop: StopBody }) {
  switch (stop.action) {
    case 'device.revoke':
      return <RestoreDevices epoch={stop.epoch} />
    case 'lock.add':
      return <RestoreLock stop={stop} />
    case 'org.disable':
      return <RestoreOrg stop={stop} />
    case 'device.remove':
      return (
        <Stack gap="xs">
          <Text size="sm">
            A removed device is gone with its slot, so nothing brings it back as it was. If it was removed by
            mistake, register it anew under the same ID; a revoke that it had then stays with it:
          </Text>
          <Code block>npx {plain(restoreCommand(stop))}</Code>
        </Stack>
      )
    default:
      return <BurnedKey />
  }
}

function BurnedKey() {
  const session = useSession()
  return (
    <Text size="sm">
      A burned key stays burned. Make another one for the process that needs it
      {mayManage(session) ? (
        <>
          {' '}
          under <PageLink to="/keys">Keys</PageLink>
        </>
      ) : (
        ' (an admin can, under Keys)'
      )}
      , put it where the process reads its key, and look at what it was denied meanwhile.
    </Text>
  )
}
