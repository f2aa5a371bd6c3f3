import { Text, Table } from '@mantine/core'

import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { Section } from '../../ui/section.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import type { ReplicaBody } from '../../../machineid/wire-stops.ts'

const EVERY_MS = 5000
const SHOWN = 50

/** The processes that run agents, and whether a stop reaches them at once. */
export function Replicas() {
  const replicas = useCall('replicas', {}, { everyMs: EVERY_MS })
  return (
    <Section title="Replicas">
      <Answer of={replicas}>
        {({ replicas: all }) =>
          all.length === 0 ? (
            <Text size="sm">
              No process has reported. Processes with a guard stand here as soon as they start. Without one,
              hold points still ask.
            </Text>
          ) : (
            <>
              <Table.ScrollContainer
                minWidth={300}
                maxHeight={320}
                scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}
              >
                <Table fz="sm" aria-label="Replicas">
                  <Table.Thead>
                    <Table.Tr>
                      <Table.Th scope="col">Replica</Table.Th>
                      <Table.Th scope="col">Stop stream</Table.Th>
                      <Table.Th scope="col">In flight</Table.Th>
                    </Table.Tr>
                  </Table.Thead>
                  <Table.Tbody>
                    {[...all]
                      .sort(silentFirst)
                      .slice(0, SHOWN)
                      .map((replica) => (
                        <ReplicaRow key={replica.replica} replica={replica} />
                      ))}
                  </Table.Tbody>
                </Table>
              </Table.ScrollContainer>
              {all.length > SHOWN && <Text size="sm">and {all.length - SHOWN} more</Text>}
            </>
          )
        }
      </Answer>
    </Section>
  )
}

function ReplicaRow({
  replica: { replica, stream, silent, lastSeenAt, devices },
}: {
  readonly replica: ReplicaBody
}) {
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={400}>
        <Untrusted text={replica} mono />
      </Table.Th>
      <Table.Td>
        {silent ? (
          <StateBadge look="warn">silent</StateBadge>
        ) : (
          <StateBadge look={stream === 'up' ? 'good' : 'warn'}>
            {stream === 'up' ? 'open' : 'lost'}
          </StateBadge>
        )}
        <Text size="xs" component="div">
          seen <When at={lastSeenAt} />
        </Text>
      </Table.Td>
      <Table.Td className="numbers">{devices.reduce((sum, { inFlight }) => sum + inFlight, 0)}</Table.Td>
    </Table.Tr>
  )
}

function silentFirst(one: ReplicaBody, other: ReplicaBody): number {
  return Number(other.silent) - Number(one.silent) || one.replica.localeCompare(other.replica)
}
