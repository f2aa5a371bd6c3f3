import { List, Text } from '@mantine/core'

import { count } from '../../../ui/count.ts'
import { StateBadge } from '../../../ui/state-badge.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { When } from '../../../ui/when.tsx'
import type { DevicesData } from '../use-devices.ts'
import { Section } from './section.tsx'

/** The processes that speak for it. */
export function DeviceReplicas({
  deviceId,
  replicas,
}: {
  readonly deviceId: string
  readonly replicas: DevicesData['replicas']
}) {
  const speaking = replicas.filter(({ devices }) => devices.some((device) => device.deviceId === deviceId))
  return (
    <Section title="Replicas">
      {speaking.length === 0 && (
        <Text size="sm">
          No process listens for its stops now. One that asks for it is denied all the same.
        </Text>
      )}
      <List size="sm" spacing="xs" listStyleType="none">
        {speaking.map(({ replica, stream, silent, lastSeenAt, devices }) => (
          <List.Item key={replica}>
            <Untrusted text={replica} mono />{' '}
            <StateBadge look={stream === 'up' ? 'good' : 'warn'}>
              {stream === 'up' ? 'hears stops' : 'hears no stops'}
            </StateBadge>
            <Text size="sm" component="div">
              {count(devices.find((device) => device.deviceId === deviceId)?.inFlight ?? 0, 'call')} in
              flight, {silent ? 'silent since' : 'last seen'} <When at={lastSeenAt} />
            </Text>
          </List.Item>
        ))}
      </List>
    </Section>
  )
}
