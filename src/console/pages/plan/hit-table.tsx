import { Button, Stack, Table, Text } from '@mantine/core'
import { useState } from 'react'

import { ScrollTable } from '../../ui/scroll-table.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { toldThen, type Hit } from './downgrade.ts'

const STEP = 100

export function HitTable({ hits, cap }: { readonly hits: readonly Hit[]; readonly cap: number }) {
  const [shown, setShown] = useState(STEP)
  const rest = hits.length - shown
  return (
    <Stack gap="xs">
      <ScrollTable
        label={`Devices above slot ${cap}`}
        minWidth={560}
        maxHeight={420}
        head={['Slot', 'Device', 'In flight', 'Told now', 'Told then']}
      >
        {hits.slice(0, shown).map((hit) => (
          <Table.Tr key={hit.deviceId} className="numbers">
            <Table.Td>{hit.slot ?? '–'}</Table.Td>
            <Table.Th scope="row" fw={400}>
              <Untrusted text={hit.deviceId} mono />
            </Table.Th>
            <Table.Td>{hit.inFlight}</Table.Td>
            <Table.Td>{hit.now}</Table.Td>
            <Table.Td>
              {toldThen(hit) === hit.now ? (
                'the same'
              ) : (
                <Text span size="sm" fw={600}>
                  {toldThen(hit)}
                </Text>
              )}
            </Table.Td>
          </Table.Tr>
        ))}
      </ScrollTable>
      {rest > 0 && (
        <Button variant="default" onClick={() => setShown(shown + STEP)}>
          Show {Math.min(rest, STEP)} more of {rest}
        </Button>
      )}
    </Stack>
  )
}
