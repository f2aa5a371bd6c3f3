import { Table, Text } from '@mantine/core'
import type { ReactNode } from 'react'

import { Untrusted } from '../../../ui/untrusted.tsx'
import { When } from '../../../ui/when.tsx'
import type { Device } from '../device-state.ts'
import type { DevicesData } from '../use-devices.ts'
import { Section } from './section.tsx'

export function DeviceFacts({
  device: { slot, epoch, labels, lastSeen, createdAt },
  data: { usage, keyNames },
}: {
  readonly device: Device
  readonly data: DevicesData
}) {
  const named = Object.entries(labels)
  const keyName = lastSeen === null ? undefined : keyNames.get(lastSeen.keyId)
  return (
    <Section title="About it">
      <Table fz="sm" withRowBorders={false} verticalSpacing={4} layout="fixed">
        <Table.Tbody>
          <Fact name="Last seen">
            <When at={lastSeen?.at ?? null} />
            {lastSeen !== null && `, answered ${lastSeen.code}`}
          </Fact>
          <Fact name="Key">
            {lastSeen === null ? (
              'none yet'
            ) : (
              <>
                {keyName !== undefined && <Untrusted text={keyName} />}{' '}
                <Untrusted text={lastSeen.keyId} mono />
              </>
            )}
          </Fact>
          <Fact name="Slot">
            {slot === null ? 'none' : `${slot}${usage === undefined ? '' : ` of ${usage.limit}`}`}
          </Fact>
          <Fact name="Epoch">{epoch === 0 ? '0: never stopped or restored' : epoch}</Fact>
          <Fact name="Registered">
            <When at={createdAt} />
          </Fact>
          <Fact name="Labels">
            {named.length === 0
              ? 'none'
              : named.map(([name, value]) => (
                  <Text key={name} size="sm" component="div">
                    <Untrusted text={name} mono /> = <Untrusted text={value} />
                  </Text>
                ))}
          </Fact>
        </Table.Tbody>
      </Table>
    </Section>
  )
}

function Fact({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  return (
    <Table.Tr>
      <Table.Th scope="row" w={110} px={0} fw={500} style={{ verticalAlign: 'top' }}>
        {name}
      </Table.Th>
      <Table.Td>{children}</Table.Td>
    </Table.Tr>
  )
}
