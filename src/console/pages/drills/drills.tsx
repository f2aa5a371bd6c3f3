import { Group, Paper, Stack, Table, Text, Title } from '@mantine/core'

import type { Output } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { Page } from '../../ui/page.tsx'
import { Pager, usePager } from '../../ui/pager.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { absoluteTime, useNow, When } from '../../ui/when.tsx'
import { readinessOf } from './readiness.ts'
import { RunDrill } from './run-drill.tsx'
import { TrendPlot } from './trend-plot.tsx'

type Summary = Output<'drills'>['drills'][number]

const TREND_DRILLS = 100

/** Whether it has been shown that stops hold here, and how fast they are. */
export function Drills() {
  const newest = useCall('drills', { limit: TREND_DRILLS }, { everyMs: 15_000 })
  return (
    <Page title="Drills">
      <Answer of={newest}>{({ drills: [last] }) => <Ready last={last} />}</Answer>
      <RunDrill />
      <Answer of={newest}>
        {({ drills }) =>
          drills.some(({ endedP99Ms }) => endedP99Ms !== null) && (
            <Stack component="section" aria-labelledby="trend" gap="xs">
              <Title order={2} size="h4" id="trend">
                Stop latency, drill after drill
              </Title>
              <TrendPlot drills={drills} />
            </Stack>
          )
        }
      </Answer>
      <History />
    </Page>
  )
}

function Ready({ last }: { readonly last: Summary | undefined }) {
  const nowMs = useNow(60_000)
  const { look, title, note } = readinessOf(last, nowMs)
  return (
    <Paper withBorder p="md">
      <Group gap="sm">
        <StateBadge look={look}>{title}</StateBadge>
        <Text size="sm">
          {note} {last !== undefined && <When at={last.startedAt} />}
        </Text>
      </Group>
    </Paper>
  )
}

const HEAD = [
  'When',
  'Held',
  'Stopped',
  'Worst p99 to the end of in-flight',
  'Started after the ack',
  'Report',
]

function History() {
  const pager = usePager()
  const page = useCall('drills', { limit: 25, cursor: pager.cursor }, { everyMs: 15_000 })
  return (
    <Stack component="section" aria-labelledby="history" gap="xs">
      <Title order={2} size="h4" id="history">
        History
      </Title>
      <Answer of={page}>
        {({ drills, nextCursor }) =>
          drills.length === 0 ? (
            <Empty title="No drill was run yet">
              Each drill stands here with its report, signed by the org: run one above, or with{' '}
              <code>npx holdpoint drill</code>.
            </Empty>
          ) : (
            <>
              <ScrollTable label="Drills" minWidth={760} head={HEAD}>
                {drills.map((drill) => (
                  <DrillRow key={drill.drillId} drill={drill} />
                ))}
              </ScrollTable>
              <Pager pager={pager} nextCursor={nextCursor} what="drills" />
            </>
          )
        }
      </Answer>
    </Stack>
  )
}

function DrillRow({ drill }: { readonly drill: Summary }) {
  const { drillId, startedAt, held, target, endedP99Ms, startedAfterAck } = drill
  return (
    <Table.Tr className="numbers">
      <Table.Th scope="row" fw={400}>
        {absoluteTime(startedAt)}
      </Table.Th>
      <Table.Td>
        <StateBadge look={held ? 'good' : 'bad'}>{held ? 'held' : 'not held'}</StateBadge>
      </Table.Td>
      <Table.Td>{target === 'canary' ? 'a canary' : 'a real surface'}</Table.Td>
      <Table.Td>{endedP99Ms === null ? 'nothing was in flight' : `${endedP99Ms} ms`}</Table.Td>
      <Table.Td>{startedAfterAck === 0 ? '0' : <strong>■ {startedAfterAck}, must be 0</strong>}</Table.Td>
      <Table.Td>
        <PageLink to={`/drills/${encodeURIComponent(drillId)}`}>{drillId}</PageLink>
      </Table.Td>
    </Table.Tr>
  )
}
