import { Stack, Table, Text } from '@mantine/core'

import { shownStop, type ShownReplica } from '../../../key-cut.ts'
import type { StopBody } from '../../../machineid/wire-stops.ts'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import { REPLICA_MEANS, sinceStop } from './stop-words.ts'
import classes from './stops.module.css'

const HEAD = [
  'Replica',
  'State',
  'Told',
  'Acknowledged',
  'Confirmed',
  'Its calls',
  'Last seen denying',
  'Last seen alive',
]

/** What every process made of a stop. Times count from the stop. */
export function StopReplicas({ stop }: { readonly stop: StopBody }) {
  return (
    <ScrollTable label="What every replica made of it, with times since the stop" minWidth={1040} head={HEAD}>
      {shownStop(stop).replicas.map((replica) => (
        <Table.Tr key={replica.replica}>
          <Table.Th scope="row" fw={400}>
            <Untrusted text={replica.replica} mono />
          </Table.Th>
          <Table.Td>
            <Stack gap={2} align="flex-start">
              <StateBadge look={REPLICA_MEANS[replica.state].look}>{replica.state}</StateBadge>
              <Text size="xs">{REPLICA_MEANS[replica.state].means}</Text>
            </Stack>
          </Table.Td>
          <Table.Td className={classes.when}>{sinceStop(stop, replica.toldAt) ?? 'not yet'}</Table.Td>
          <Table.Td className={classes.when}>{sinceStop(stop, replica.receivedAt) ?? 'not yet'}</Table.Td>
          <Table.Td className={classes.when}>{sinceStop(stop, replica.settledAt) ?? 'not yet'}</Table.Td>
          <Table.Td>{endsOf(replica)}</Table.Td>
          <Table.Td className="numbers">
            {replica.lastDenied === null
              ? 'never'
              : `${sinceStop(stop, replica.lastDenied.at)}, ${replica.lastDenied.code}`}
          </Table.Td>
          <Table.Td>
            <When at={replica.lastSeenAt} />
          </Table.Td>
        </Table.Tr>
      ))}
    </ScrollTable>
  )
}

/** `2 aborted, 1 running`. */
function endsOf({ aborted, finished, unknown, running }: ShownReplica): string {
  const ends = Object.entries({ aborted, finished, unknown, running }).filter(([, calls]) => calls > 0)
  return ends.map(([end, calls]) => `${calls} ${end}`).join(', ') || 'none'
}
