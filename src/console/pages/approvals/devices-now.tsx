import { Group, Stack, Text, Title } from '@mantine/core'

import type { ApprovalBody } from '../../../machineid/wire-approvals.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'

/** What the hold points of the call would be answered now. */
export function DevicesNow({ devices }: Pick<ApprovalBody, 'devices'>) {
  const isDenied = devices.some(({ code }) => code !== 'ALLOW')
  return (
    <Stack gap="sm" component="section" aria-label="Devices now">
      <Title order={2} size="h4">
        Its devices now
      </Title>
      {devices.map(({ deviceId, code }) => (
        <Group key={deviceId} gap="sm">
          <StateBadge look={code === 'ALLOW' ? 'good' : 'bad'}>
            {code === 'ALLOW' ? 'allowed' : code}
          </StateBadge>
          <Untrusted text={deviceId} mono />
        </Group>
      ))}
      <Text size="sm">
        {isDenied
          ? 'As it stands now the call would be denied at its hold points, approved or not.'
          : 'An approval is no permit: the call asks for each of them again before it runs.'}
      </Text>
    </Stack>
  )
}
