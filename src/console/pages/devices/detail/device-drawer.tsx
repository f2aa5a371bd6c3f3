import { Alert, Drawer, Stack, Text } from '@mantine/core'

import { mayReadEvidence } from '../../../api/roles.ts'
import { useSession } from '../../../api/session-state.ts'
import { Loading } from '../../../ui/answer.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import type { Actions } from '../use-actions.ts'
import type { DevicesData } from '../use-devices.ts'
import { DeviceActions } from './device-actions.tsx'
import { DeviceCommands } from './device-commands.tsx'
import { DeviceFacts } from './device-facts.tsx'
import { LastChanges, LastDecisions } from './device-history.tsx'
import { DeviceReplicas } from './device-replicas.tsx'
import { WhyDenied } from './why-denied.tsx'

/** One device: how it stands, why, and what happened to it. */
export function DeviceDrawer({
  deviceId,
  data,
  known,
  close,
  begin,
  covered,
}: {
  /** '' when none is open. */
  readonly deviceId: string
  readonly data: DevicesData
  /** Whether the devices have been loaded. */
  readonly known: boolean
  readonly close: () => void
  readonly begin: Actions['begin']
  /** A dialog lies over it, which then has the keys. */
  readonly covered: boolean
}) {
  const session = useSession()
  const device = known ? data.byId.get(deviceId) : undefined
  return (
    <Drawer
      opened={deviceId !== ''}
      onClose={close}
      size="lg"
      title={<Untrusted text={deviceId} mono />}
      closeButtonProps={{ 'aria-label': 'Close' }}
      closeOnEscape={!covered}
      closeOnClickOutside={!covered}
    >
      {deviceId !== '' && device === undefined && !known && <Loading />}
      {deviceId !== '' && device === undefined && known && <NoDevice />}
      {device !== undefined && (
        <Stack gap="lg" key={deviceId}>
          <DeviceActions device={device} begin={begin} />
          <WhyDenied device={device} data={data} begin={begin} />
          <DeviceFacts device={device} data={data} />
          <DeviceReplicas deviceId={device.deviceId} replicas={data.replicas} />
          {mayReadEvidence(session) && <LastDecisions deviceId={device.deviceId} />}
          {mayReadEvidence(session) && <LastChanges device={device} keyNames={data.keyNames} />}
          <DeviceCommands device={device} />
        </Stack>
      )}
    </Drawer>
  )
}

function NoDevice() {
  return (
    <Alert color="orange" variant="outline" title="This device is not registered.">
      <Text size="sm">
        It is denied: it never was registered, or it was removed. Registering it again says which of both.
      </Text>
    </Alert>
  )
}
