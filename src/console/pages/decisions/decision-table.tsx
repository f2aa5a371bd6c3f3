import { Group, Table } from '@mantine/core'
import { memo } from 'react'

import { CopyText } from '../../ui/copyable.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime, timeOfLate } from '../../ui/when.tsx'
import classes from './decisions.module.css'
import { keyOf, type Decision } from './feed-list.ts'

const HEAD = ['Time', 'Verdict', 'Boundary', 'Device', 'Tool and run', 'request_id']

export function DecisionTable({ decisions }: { readonly decisions: readonly Decision[] }) {
  return (
    <ScrollTable label="Decisions, newest first" minWidth={960} head={HEAD}>
      {decisions.map((decision) => (
        <DecisionRow key={keyOf(decision)} decision={decision} />
      ))}
    </ScrollTable>
  )
}

const DecisionRow = memo(function DecisionRow({ decision }: { readonly decision: Decision }) {
  const { at, allowed, code, boundary, asked, deviceId, tool, runId, request_id: requestId } = decision
  return (
    <Table.Tr>
      <Table.Td className={classes.time}>
        <time dateTime={at} title={absoluteTime(at)}>
          {timeOfLate(at)}
        </time>
      </Table.Td>
      <Table.Td>
        <StateBadge look={allowed ? 'good' : 'bad'}>{allowed ? 'allowed' : code}</StateBadge>
      </Table.Td>
      <Table.Td className={classes.boundary}>
        <Untrusted text={boundary ?? asked} mono />
      </Table.Td>
      <Table.Td className={classes.device}>
        <Untrusted text={deviceId} mono />
      </Table.Td>
      <Table.Td className={classes.tool}>
        {tool === null ? '–' : <Untrusted text={tool} mono />}
        {runId !== null && (
          <div>
            <PageLink to={`/runs/${encodeURIComponent(runId)}`}>
              <Untrusted text={runId} mono />
            </PageLink>
          </div>
        )}
      </Table.Td>
      <Table.Th scope="row" fw={400} className={classes.request}>
        <Group gap={6} wrap="nowrap">
          <PageLink to={`/decisions/${encodeURIComponent(requestId)}`}>
            <Untrusted text={requestId} mono />
          </PageLink>
          <CopyText text={requestId} what={`request_id ${requestId}`} />
        </Group>
      </Table.Th>
    </Table.Tr>
  )
})
