import { Alert, Button, Group, Stack, Text } from '@mantine/core'

import { mayRestore } from '../../../api/roles.ts'
import { useSession } from '../../../api/session-state.ts'
import { count } from '../../../ui/count.ts'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { matchesDevicePattern } from '../../../../device-patterns.ts'
import { denialsOf, WHY, type Denial, type Device } from '../device-state.ts'
import type { Actions } from '../use-actions.ts'
import type { DevicesData } from '../use-devices.ts'

const OTHERS = ['org_off', 'plan_off', 'over_limit'] as const satisfies Denial[]

/** What denies devices whether they are revoked or not, and what can be done about it. */
export function StillHeld({
  devices,
  data: { locks, org },
  begin,
  after = false,
}: {
  readonly devices: readonly Device[]
  readonly data: Pick<DevicesData, 'locks' | 'org'>
  readonly begin: Actions['begin']
  /** Of a restore that was made. */
  readonly after?: boolean
}) {
  const session = useSession()
  const holding = locks
    .map((lock) => ({
      lock,
      of: devices.filter(({ deviceId }) => matchesDevicePattern(lock.pattern, deviceId)).length,
    }))
    .filter(({ of }) => of > 0)
  const others = OTHERS.map((denial) => ({
    denial,
    of: devices.filter((device) => denialsOf(device, org).includes(denial)).length,
  })).filter(({ of }) => of > 0)
  if (holding.length === 0 && others.length === 0) return null
  return (
    <Alert
      color="orange"
      variant="outline"
      title={after ? 'Some of it is still denied.' : 'A restore is not enough for all of it.'}
    >
      <Stack gap="xs">
        {holding.map(({ lock, of }) => (
          <Group key={lock.lockId} gap="xs" justify="space-between">
            <Text size="sm" component="div">
              The lock <Untrusted text={lock.pattern} mono /> denies {count(of, 'device')} of these:{' '}
              <Untrusted text={lock.reason} />
            </Text>
            {mayRestore(session) && (
              <Button size="compact-sm" variant="default" onClick={() => begin({ is: 'release', lock })}>
                Release this lock
              </Button>
            )}
          </Group>
        ))}
        {others.map(({ denial, of }) => (
          <Text key={denial} size="sm">
            {`${count(of, 'device')}: ${WHY[denial]}`}
          </Text>
        ))}
      </Stack>
    </Alert>
  )
}
