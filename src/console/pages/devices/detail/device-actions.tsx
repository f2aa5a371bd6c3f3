import { Button, Group } from '@mantine/core'

import { mayRestore, mayStop } from '../../../api/roles.ts'
import { useSession } from '../../../api/session-state.ts'
import { surfacePatternOf } from '../device-id.ts'
import type { Device } from '../device-state.ts'
import type { Actions } from '../use-actions.ts'

export function DeviceActions({
  device: { deviceId, revoked },
  begin,
}: {
  readonly device: Device
  readonly begin: Actions['begin']
}) {
  const session = useSession()
  const deviceIds = [deviceId]
  return (
    <Group gap="xs" role="group" aria-label="With this device">
      {mayStop(session) && (
        <>
          <Button size="xs" color="red" onClick={() => begin({ is: 'revoke', deviceIds })}>
            {revoked ? 'Revoke again' : 'Revoke'}
          </Button>
          <Button
            size="xs"
            color="red"
            variant="outline"
            onClick={() => begin({ is: 'stop', pattern: surfacePatternOf(deviceId) })}
          >
            Stop its surface
          </Button>
        </>
      )}
      {mayRestore(session) && (
        <>
          {revoked && (
            <Button size="xs" color="teal.9" onClick={() => begin({ is: 'restore', deviceIds })}>
              Restore
            </Button>
          )}
          <Button size="xs" variant="default" onClick={() => begin({ is: 'remove', deviceIds })}>
            Remove
          </Button>
        </>
      )}
    </Group>
  )
}
