import { Table, Text, Title } from '@mantine/core'

import type { StopBody } from '../../../machineid/wire-stops.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'

const SHOWN = 100
const LOOKS = { aborted: 'quiet', finished: 'quiet', unknown: 'bad' } as const

/** The calls that a stop found in flight and that have ended, one by one. */
export function StopCalls({ stop }: { readonly stop: StopBody }) {
  const calls = stop.replicas.flatMap(({ replica, calls: ended }) =>
    ended.map((call) => ({ replica, ...call })),
  )
  const total = stop.replicas.reduce(
    (sum, { aborted, finished, unknown }) => sum + aborted + finished + unknown,
    0,
  )
  if (calls.length === 0) return null
  const shown = calls.slice(0, SHOWN)
  return (
    <>
      <Title order={3} size="h5">
        What was in flight
      </Title>
      <ScrollTable
        label="Calls that the stop found in flight"
        minWidth={760}
        head={['Call', 'Tool', 'Run', 'How it ended', 'Replica']}
      >
        {shown.map(({ replica, callId, runId, tool, end }, at) => (
          <Table.Tr key={`${replica} ${callId ?? ''} ${at}`}>
            <Table.Th scope="row" fw={400}>
              {callId === null ? '–' : <Untrusted text={callId} mono />}
            </Table.Th>
            <Table.Td>{tool === null ? '–' : <Untrusted text={tool} mono />}</Table.Td>
            <Table.Td>
              {runId === null ? (
                '–'
              ) : (
                <PageLink to={`/runs/${encodeURIComponent(runId)}`}>
                  <Untrusted text={runId} mono />
                </PageLink>
              )}
            </Table.Td>
            <Table.Td>
              <StateBadge look={LOOKS[end]}>{end}</StateBadge>
            </Table.Td>
            <Table.Td>
              <Untrusted text={replica} mono />
            </Table.Td>
          </Table.Tr>
        ))}
      </ScrollTable>
      {total > shown.length && (
        <Text size="sm">
          The first {shown.length} of {total.toLocaleString('en')}. The log of each replica has all of them.
        </Text>
      )}
    </>
  )
}
