import { Button, Group, List, Stack, Text } from '@mantine/core'

import { mayRestore } from '../../../api/roles.ts'
import type { Output } from '../../../api/routes.ts'
import { useSession } from '../../../api/session-state.ts'
import { useCall } from '../../../api/use-call.ts'
import { StateBadge } from '../../../ui/state-badge.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { When } from '../../../ui/when.tsx'
import { CODES, denialsOf, inWords, WHY, type Denial, type Device, type Lock } from '../device-state.ts'
import { locksOf } from '../locks-of.ts'
import type { Actions } from '../use-actions.ts'
import type { DevicesData } from '../use-devices.ts'
import { Section } from './section.tsx'

/** What a validate would answer now, and everything that denies it, with who, when and why. */
export function WhyDenied({
  device,
  data,
  begin,
}: {
  readonly device: Device
  readonly data: DevicesData
  readonly begin: Actions['begin']
}) {
  const denials = denialsOf(device, data.org)
  const [first] = denials
  return (
    <Section title="Now">
      <Group gap="xs">
        <StateBadge look={first === undefined ? 'good' : 'bad'}>{inWords(denials).told}</StateBadge>
        <Text size="sm">
          {first === undefined ? 'A validate would allow it.' : `A validate would answer ${CODES[first]}.`}
        </Text>
      </Group>
      {denials.length > 0 && (
        <List size="sm" spacing="xs">
          {denials.map((denial) => (
            <List.Item key={denial}>
              <Text size="sm">{WHY[denial]}</Text>
              <Held denial={denial} device={device} data={data} begin={begin} />
            </List.Item>
          ))}
        </List>
      )}
    </Section>
  )
}

function Held({
  denial,
  device,
  data,
  begin,
}: {
  readonly denial: Denial
  readonly device: Device
  readonly data: DevicesData
  readonly begin: Actions['begin']
}) {
  const { keyNames, usage } = data
  if (denial === 'revoked') return <RevokedBy device={device} keyNames={keyNames} />
  if (denial === 'locked') {
    return locksOf(device.deviceId, data.locks).map((lock) => (
      <LockedBy key={lock.lockId} lock={lock} keyNames={keyNames} begin={begin} />
    ))
  }
  if (denial === 'org_off' && usage !== undefined) {
    const { by, since, reason } = usage.org
    return <Told by={nameOf(by, keyNames)} at={since} reason={reason} />
  }
  return null
}

/** The device remembers the epoch of its stop; who it was is in the history of stops. */
function RevokedBy({
  device: { epoch, changedAt, reason, remindAt, overdue },
  keyNames,
}: {
  readonly device: Device
  readonly keyNames: DevicesData['keyNames']
}) {
  const history = useCall('stopHistory', { epoch })
  const stop: Output<'stopHistory'>['stops'][number] | undefined = history.data?.stops.find(
    (one) => one.epoch === epoch,
  )
  return (
    <Told
      by={nameOf(stop?.by ?? null, keyNames)}
      at={changedAt}
      reason={reason}
      remindAt={remindAt}
      overdue={overdue}
    />
  )
}

function LockedBy({
  lock,
  keyNames,
  begin,
}: {
  readonly lock: Lock
  readonly keyNames: DevicesData['keyNames']
  readonly begin: Actions['begin']
}) {
  const session = useSession()
  const { pattern, by, changedAt, reason, remindAt, overdue } = lock
  return (
    <Stack gap={4} align="flex-start">
      <Text size="sm" component="div">
        Lock <Untrusted text={pattern} mono />
      </Text>
      <Told by={nameOf(by, keyNames)} at={changedAt} reason={reason} remindAt={remindAt} overdue={overdue} />
      {mayRestore(session) && (
        <Button size="compact-sm" variant="default" onClick={() => begin({ is: 'release', lock })}>
          Release this lock
        </Button>
      )}
    </Stack>
  )
}

function Told({
  by,
  at,
  reason,
  remindAt = null,
  overdue = false,
}: {
  readonly by: string | undefined
  readonly at: string | null
  readonly reason: string | null
  readonly remindAt?: string | null
  readonly overdue?: boolean
}) {
  return (
    <Text size="sm" component="div">
      {at !== null && <When at={at} />}
      {by !== undefined && (
        <>
          {' '}
          by <Untrusted text={by} />
        </>
      )}
      : {reason === null ? 'no reason given' : <Untrusted text={reason} />}
      {remindAt !== null && (
        <>
          {' '}
          ({overdue ? 'overdue since ' : 'reminder '}
          <When at={remindAt} ahead />)
        </>
      )}
    </Text>
  )
}

/** Somebody as the API names them: a key's ID, or its kind before that. */
function nameOf(by: string | null, keyNames: DevicesData['keyNames']): string | undefined {
  return by === null ? undefined : (keyNames.get(by.slice(by.lastIndexOf(':') + 1)) ?? by)
}
