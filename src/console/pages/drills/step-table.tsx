import { Table, Text } from '@mantine/core'

import type { Output } from '../../api/routes.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'

export type Step = Output<'drill'>['drill']['report']['steps'][number]

export const STEP_NAMES: Readonly<Record<Step['name'], string>> = {
  baseline: 'baseline',
  stop: 'stop',
  restore: 'restore',
  disable_org: 'org disable',
  enable_org: 'org enable',
  cut: 'cut off',
  mend: 'mended',
}
/** Those whose epoch is that of a stop. */
const STOPS: ReadonlySet<Step['name']> = new Set(['stop', 'disable_org'])

export function StepTable({ steps }: { readonly steps: readonly Step[] }) {
  return (
    <ScrollTable label="Steps" minWidth={720} head={['Step', 'Held', 'What happened', 'Ack', 'Epoch']}>
      {steps.map(({ name, held, note, ackMs, epoch, startedAt }) => (
        <Table.Tr key={`${name} ${startedAt}`} className="numbers">
          <Table.Th scope="row" fw={400}>
            {STEP_NAMES[name]}
          </Table.Th>
          <Table.Td>
            <StateBadge look={held ? 'good' : 'bad'}>{held ? 'held' : 'not held'}</StateBadge>
          </Table.Td>
          <Table.Td>
            <Text size="sm">
              <Untrusted text={note} />
            </Text>
          </Table.Td>
          <Table.Td>{ackMs === null ? '–' : `${ackMs} ms`}</Table.Td>
          <Table.Td>
            {epoch !== null && STOPS.has(name) ? (
              <PageLink to={`/stops/${epoch}`}>{epoch}</PageLink>
            ) : (
              (epoch ?? '–')
            )}
          </Table.Td>
        </Table.Tr>
      ))}
    </ScrollTable>
  )
}
