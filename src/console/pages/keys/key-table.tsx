import { Badge, Button, Group, Stack, Table, Text } from '@mantine/core'

import { plain } from '../../ui/plain.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { hasEnded, type KeyRow } from './key-kinds.ts'

const LOOKS = { active: 'good', ending: 'warn', expired: 'quiet', burned: 'bad' } as const
const HEAD = ['Key', 'Kind', 'Bindings', 'State', 'Created', 'Last used', 'Ends', 'Actions']

export function KeyTable({
  rows,
  all,
  ownId,
  onChange,
}: {
  readonly rows: readonly KeyRow[]
  /** To name whoever created one. */
  readonly all: readonly KeyRow[]
  readonly ownId: string
  readonly onChange: (what: 'rotate' | 'burn', row: KeyRow) => void
}) {
  return (
    <ScrollTable label="Keys" minWidth={1010} head={HEAD}>
      {rows.map((row) => (
        <Table.Tr key={row.keyId}>
          <Table.Th scope="row" fw={400} miw={232}>
            <Stack gap={2}>
              <Group gap="xs">
                {row.name === null ? <Text size="sm">without a name</Text> : <Untrusted text={row.name} />}
                {row.keyId === ownId && (
                  <Badge variant="outline" size="sm" tt="none">
                    yours
                  </Badge>
                )}
              </Group>
              <Text size="xs">
                <Untrusted text={`${row.prefix}…`} mono />
              </Text>
            </Stack>
          </Table.Th>
          <Table.Td>{row.kind}</Table.Td>
          <Table.Td miw={118} maw={220}>
            <Bindings of={row} />
          </Table.Td>
          <Table.Td>
            <StateBadge look={LOOKS[row.state]}>{row.state}</StateBadge>
            {row.replacedBy !== null && (
              <Text size="xs" mt={2}>
                rotated to <Untrusted text={row.replacedBy} mono />
              </Text>
            )}
          </Table.Td>
          <Table.Td>
            <When at={row.createdAt} />
            <Text size="xs">
              by <CreatedBy of={row} all={all} />
            </Text>
          </Table.Td>
          <Table.Td>
            <When at={row.lastUsedAt} />
          </Table.Td>
          <Table.Td>{hasEnded(row) ? <When at={row.endedAt} /> : <When at={row.endsAt} ahead />}</Table.Td>
          <Table.Td>
            {!hasEnded(row) && (
              <Group gap={6} wrap="nowrap">
                {row.replacedBy === null && (
                  <Button
                    size="compact-sm"
                    variant="default"
                    aria-label={`Rotate ${plain(row.name ?? '')} ${row.prefix}`}
                    onClick={() => onChange('rotate', row)}
                  >
                    Rotate
                  </Button>
                )}
                <Button
                  size="compact-sm"
                  color="red"
                  variant="outline"
                  aria-label={`Burn ${plain(row.name ?? '')} ${row.prefix}`}
                  onClick={() => onChange('burn', row)}
                >
                  Burn
                </Button>
              </Group>
            )}
          </Table.Td>
        </Table.Tr>
      ))}
    </ScrollTable>
  )
}

const SHOWN = 3

function Bindings({ of: { kind, bindings } }: { readonly of: KeyRow }) {
  if (bindings === null) return <Text size="xs">{kind === 'runtime' ? 'every device' : '–'}</Text>
  return (
    <Stack gap={0}>
      {bindings.slice(0, SHOWN).map((binding) => (
        <Text key={binding} size="xs">
          <Untrusted text={binding} mono />
          {binding === '*' && ' (every device)'}
        </Text>
      ))}
      {bindings.length > SHOWN && (
        <details>
          <summary>
            <Text span size="xs">
              and {bindings.length - SHOWN} more
            </Text>
          </summary>
          {bindings.slice(SHOWN).map((binding) => (
            <Text key={binding} size="xs">
              <Untrusted text={binding} mono />
            </Text>
          ))}
        </details>
      )}
    </Stack>
  )
}

function CreatedBy({ of: { createdBy }, all }: { readonly of: KeyRow; readonly all: readonly KeyRow[] }) {
  const creator = all.find(({ keyId }) => keyId === createdBy)
  if (creator === undefined) return <Untrusted text={createdBy} />
  return (
    <>
      {creator.kind} <Untrusted text={creator.name ?? creator.keyId} mono={creator.name === null} />
    </>
  )
}
