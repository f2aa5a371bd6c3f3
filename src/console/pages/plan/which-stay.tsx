import { List, Stack, Text, Title } from '@mantine/core'

import { count } from '../../ui/count.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import type { CapEffect } from './downgrade.ts'

const NAMED = 10

/** How slots are given (control-plane/register.ts), and so how somebody chooses before the cap does. */
export function WhichStay({
  effect: { stoppedWithin },
  cap,
}: {
  readonly effect: CapEffect
  readonly cap: number
}) {
  return (
    <Stack gap="xs" maw={820}>
      <Title order={3} size="h5">
        Choose which stay, before the plan is changed
      </Title>
      <Text size="sm">
        Nothing is chosen at random: the lowest slots stay. A device gets the lowest free slot when it is
        registered, and keeps it until it is removed; slots are never moved up.
      </Text>
      <List type="ordered" size="sm" spacing={4}>
        <List.Item>
          <PageLink to="/devices">Remove</PageLink> devices with a slot up to {cap.toLocaleString('en')} that
          can go. Each slot is free at once; the IDs stay denied, DEVICE_REMOVED.
        </List.Item>
        <List.Item>
          Remove the devices above it that should stay, and bring each back: register it again with{' '}
          <code>restoreRemoved</code> and the epoch of its removal (operator, admin or full; a runtime key
          cannot). It gets the lowest free slot. Until then it is denied, and what it runs is stopped. What
          was revoked comes back revoked.
        </List.Item>
        <List.Item>
          Or register the process under an ID that is new: that too gets the lowest free slot. So does
          whatever else registers meanwhile; look here again before the plan is changed.
        </List.Item>
        <List.Item>
          Afterwards it takes more: until so many are removed that fewer are used than the cap allows, nothing
          new is registered and nothing removed comes back, whichever slots are free.
        </List.Item>
      </List>
      {stoppedWithin.length > 0 && (
        <Text size="sm">
          {count(stoppedWithin.length, 'device')} with a slot up to {cap.toLocaleString('en')}{' '}
          {stoppedWithin.length === 1 ? 'is' : 'are'} stopped and still take
          {stoppedWithin.length === 1 ? 's' : ''} it:{' '}
          {stoppedWithin.slice(0, NAMED).map(({ deviceId, slot }, index) => (
            <span key={deviceId}>
              {index > 0 && ', '}
              <Untrusted text={deviceId} mono /> (slot {slot})
            </span>
          ))}
          {stoppedWithin.length > NAMED && ` and ${stoppedWithin.length - NAMED} more`}.
        </Text>
      )}
    </Stack>
  )
}
