import { Alert, ScrollArea, Stack, Table, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'

import type { ApiError } from '../../api/api-error.ts'
import { call } from '../../api/call.ts'
import type { Output } from '../../api/routes.ts'
import { Answer } from '../answer.tsx'
import { count } from '../count.ts'
import { StateBadge } from '../state-badge.tsx'
import { Untrusted } from '../untrusted.tsx'
import { callsOf, MEANS, verdictOf } from './confirmation-words.ts'

const EVERY_MS = 1000

/** What each replica is known to have made of a stop, looked at until all have confirmed it. */
export function StopConfirmation({ epoch }: { readonly epoch: number }) {
  const history = useQuery<Output<'stopHistory'>, ApiError>({
    queryKey: ['stopHistory', { epoch }],
    queryFn: ({ signal }) => call('stopHistory', { epoch }, { signal }),
    refetchInterval: ({ state }) => (state.data?.stops[0]?.state === 'confirmed' ? false : EVERY_MS),
  })
  return (
    <Answer of={history}>
      {({ stops: [stop] }) => {
        if (stop === undefined) return <Text size="sm">Whom it reaches is being looked up.</Text>
        const { look, words } = verdictOf(stop)
        return (
          <Stack gap="xs">
            <Alert
              color={look === 'good' ? 'teal' : 'orange'}
              variant="outline"
              role="status"
              title={words}
            />
            {stop.replicas.length > 0 && (
              <ScrollArea type="auto" viewportProps={{ tabIndex: 0 }}>
                <Table aria-label={`Replicas, for the stop ${epoch}`} fz="sm" miw={420}>
                  <Table.Thead>
                    <Table.Tr>
                      <Table.Th scope="col">Replica</Table.Th>
                      <Table.Th scope="col">State</Table.Th>
                      <Table.Th scope="col">Calls it found</Table.Th>
                    </Table.Tr>
                  </Table.Thead>
                  <Table.Tbody>
                    {stop.replicas.map((replica) => (
                      <Table.Tr key={replica.replica}>
                        <Table.Th scope="row" fw={400}>
                          <Untrusted text={replica.replica} mono />
                        </Table.Th>
                        <Table.Td>
                          <StateBadge look={MEANS[replica.state].look}>{replica.state}</StateBadge>
                          <Text size="xs">{MEANS[replica.state].words}</Text>
                        </Table.Td>
                        <Table.Td>{callsOf(replica)}</Table.Td>
                      </Table.Tr>
                    ))}
                  </Table.Tbody>
                </Table>
              </ScrollArea>
            )}
            <Text size="xs" c="dimmed">
              {count(stop.replicas.length, 'replica')} concerned. Epoch {epoch}.
            </Text>
          </Stack>
        )
      }}
    </Answer>
  )
}
