import { Table, Text } from '@mantine/core'

import { ScrollTable } from '../../ui/scroll-table.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { STEP_NAMES, type Step } from './step-table.tsx'

const HEAD = [
  'Step',
  'Replica',
  'Surface',
  'Boundary',
  'Sent after ack',
  'Started',
  'In window',
  'In flight',
  'p50 / p99 / max ms',
  'Told',
]

/** What each stop did, replica by replica, surface by surface, boundary by boundary. */
export function MeasureTable({ steps }: { readonly steps: readonly Step[] }) {
  const rows = steps.flatMap(({ name, measures }) => measures.map((measure) => ({ name, ...measure })))
  if (rows.length === 0) return <Text size="sm">Nothing was measured.</Text>
  return (
    <ScrollTable label="Measures" minWidth={1060} maxHeight={520} head={HEAD}>
      {rows.map((row) => (
        <Table.Tr key={`${row.name} ${row.replica} ${row.surface} ${row.boundary}`} className="numbers">
          <Table.Th scope="row" fw={400}>
            {STEP_NAMES[row.name]}
          </Table.Th>
          <Table.Td miw={170} fz="xs">
            <Untrusted text={row.replica} mono />
          </Table.Td>
          <Table.Td miw={100}>
            <Untrusted text={row.surface} />
          </Table.Td>
          <Table.Td>{row.boundary}</Table.Td>
          <Table.Td>{row.sentAfterAck}</Table.Td>
          <Table.Td>{row.startedAfterAck === 0 ? '0' : <strong>■ {row.startedAfterAck}</strong>}</Table.Td>
          <Table.Td>
            {row.windowMs === null ? '0' : `${row.startedInWindow}, up to ${row.windowMs} ms`}
          </Table.Td>
          <Table.Td>{row.inFlight}</Table.Td>
          <Table.Td>
            {row.ended === null ? '–' : `${row.ended.p50Ms} / ${row.ended.p99Ms} / ${row.ended.maxMs}`}
          </Table.Td>
          <Table.Td fz="xs" miw={180}>
            {Object.entries(row.codes).map(([code, times]) => (
              <div key={code}>
                <Untrusted text={code} /> {times}
              </div>
            ))}
          </Table.Td>
        </Table.Tr>
      ))}
    </ScrollTable>
  )
}
