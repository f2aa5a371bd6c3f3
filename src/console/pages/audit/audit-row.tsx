import { Badge, Button, Group, Stack, Table, Text } from '@mantine/core'
import { useId, useState } from 'react'

import type { Output } from '../../api/routes.ts'
import { Copyable } from '../../ui/copyable.tsx'
import { Fact, Facts } from '../../ui/facts.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime } from '../../ui/when.tsx'
import classes from './audit.module.css'
import { difference, type Field } from './difference.ts'

export type Row = Output<'audit'>['rows'][number]

/** A device, or what a lock is of. */
function subjectOf({ deviceId, after }: Row): string | undefined {
  if (deviceId !== null) return deviceId
  const isLock = typeof after === 'object' && after !== null && 'pattern' in after
  return isLock && typeof after.pattern === 'string' ? after.pattern : undefined
}

export const COLUMNS = ['Row', 'When', 'Change', 'Of', 'Who', 'Reason']

/** One change; opened, everything that its row says. */
export function AuditRow({
  row,
  onOnly,
}: {
  readonly row: Row
  readonly onOnly: (filter: { readonly device?: string; readonly actor?: string }) => void
}) {
  const [isOpen, setOpen] = useState(false)
  const id = useId()
  const { seq, at, action, actor, actorKind, reason } = row
  const of = subjectOf(row)
  return (
    <>
      <Table.Tr>
        <Table.Th scope="row" fw={400} className="numbers">
          <Button
            size="compact-sm"
            variant="default"
            aria-expanded={isOpen}
            aria-controls={id}
            aria-label={`Row ${seq}`}
            onClick={() => setOpen(!isOpen)}
          >
            {isOpen ? '▾' : '▸'} {seq}
          </Button>
        </Table.Th>
        <Table.Td className={classes.whole}>
          <time dateTime={at}>{absoluteTime(at)}</time>
        </Table.Td>
        <Table.Td className={classes.whole}>
          <Untrusted text={action} mono />
        </Table.Td>
        <Table.Td>{of === undefined ? '–' : <Untrusted text={of} mono />}</Table.Td>
        <Table.Td className={classes.whole}>
          {actorKind !== null && actorKind !== actor && <div>{actorKind}</div>}
          <Untrusted text={actor} mono />
        </Table.Td>
        <Table.Td maw={280}>{reason === null ? '–' : <Untrusted text={reason} />}</Table.Td>
      </Table.Tr>
      <Table.Tr id={id} hidden={!isOpen}>
        <Table.Td colSpan={COLUMNS.length}>
          {isOpen && (
            <Stack gap="md" py="xs">
              <Difference row={row} />
              <Evidence row={row} />
              <Group gap="xs">
                {of !== undefined && (
                  <Button size="compact-sm" variant="default" onClick={() => onOnly({ device: of })}>
                    Only changes of this device
                  </Button>
                )}
                <Button size="compact-sm" variant="default" onClick={() => onOnly({ actor })}>
                  Only changes by this one
                </Button>
              </Group>
            </Stack>
          )}
        </Table.Td>
      </Table.Tr>
    </>
  )
}

const CHANGES: Readonly<Record<Field['is'], string>> = {
  added: '+ added',
  removed: '− removed',
  changed: '≠ changed',
  same: 'the same',
}

function Difference({ row: { seq, before, after } }: { readonly row: Row }) {
  const fields = difference(before, after)
  if (fields.length === 0) return <Text size="sm">It says neither what was before nor what is after.</Text>
  return (
    <ScrollTable label={`What row ${seq} changed`} minWidth={480} head={['Field', 'Is', 'Before', 'After']}>
      {fields.map(({ name, before: then, after: now, is }) => (
        <Table.Tr key={name}>
          <Table.Th scope="row" fw={400}>
            <Untrusted text={name} mono />
          </Table.Th>
          <Table.Td>
            <Badge
              variant={is === 'same' ? 'default' : 'outline'}
              color="gray"
              autoContrast
              tt="none"
              c="inherit"
            >
              {CHANGES[is]}
            </Badge>
          </Table.Td>
          <Table.Td>{then === undefined ? '–' : <Untrusted text={then} mono />}</Table.Td>
          <Table.Td>{now === undefined ? '–' : <Untrusted text={now} mono />}</Table.Td>
        </Table.Tr>
      ))}
    </ScrollTable>
  )
}

function Evidence({ row }: { readonly row: Row }) {
  const { seq, requestId, origin, id, hash, prevHash, at } = row
  return (
    <Facts cols={{ base: 1, md: 2 }}>
      <Fact name="Request">
        {requestId === null ? (
          'none: nobody asked for it'
        ) : (
          <Copyable text={requestId} what="the request id" />
        )}
      </Fact>
      <Fact name="From">
        {origin === null ? 'inside of the control plane' : <Untrusted text={origin} mono />}
      </Fact>
      <Fact name="At">
        <Untrusted text={at} mono />
      </Fact>
      <Fact name="Row id">
        <Untrusted text={id} mono />
      </Fact>
      <Fact name="Hash">
        <Copyable text={hash} what={`the hash of row ${seq}`} />
      </Fact>
      <Fact name="Hash of the row before">
        <Untrusted text={prevHash} mono />
      </Fact>
    </Facts>
  )
}
