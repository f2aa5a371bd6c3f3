import { Group, Stack, Table, Text } from '@mantine/core'

import type { StopBody } from '../../../machineid/wire-stops.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { Page } from '../../ui/page.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { Pager, usePager } from '../../ui/pager.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import { Who } from '../../ui/who.tsx'
import { confirmationOf, isOpen, stopWords } from './stop-words.ts'
import classes from './stops.module.css'

const PAGE = 50

/** Every stop, newest first, and how far each is confirmed. */
export function Stops() {
  const pager = usePager()
  const stops = useCall(
    'stopHistory',
    { limit: PAGE, ...(pager.cursor !== undefined && { cursor: pager.cursor }) },
    { everyMs: (last) => (last?.stops.some(isOpen) ? 2000 : 10_000) },
  )
  return (
    <Page title="Stops">
      <Answer of={stops}>
        {({ stops: shown, nextCursor }) => (
          <Stack>
            {shown.length === 0 ? (
              <Empty title="Nothing has been stopped.">
                Each revoke, lock, disabled org and burned key will stand here, with what every process made
                of it.
              </Empty>
            ) : (
              <ScrollTable
                label="Stops, newest first"
                minWidth={860}
                head={['What', 'When', 'Confirmed', 'By', 'Reason']}
              >
                {shown.map((stop) => (
                  <StopRow key={stop.epoch} stop={stop} />
                ))}
              </ScrollTable>
            )}
            <Pager pager={pager} nextCursor={nextCursor} what="stops" />
          </Stack>
        )}
      </Answer>
    </Page>
  )
}

function StopRow({ stop }: { readonly stop: StopBody }) {
  const { did, what, more } = stopWords(stop)
  const { look, short, share } = confirmationOf(stop)
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={400} className={classes.what}>
        <PageLink to={`/stops/${stop.epoch}`}>
          {did} {what !== null && <Untrusted text={what} mono />}
          {more}
        </PageLink>
      </Table.Th>
      <Table.Td className={classes.when}>
        <When at={stop.at} />
      </Table.Td>
      <Table.Td>
        <Group gap={6}>
          <StateBadge look={look}>{short}</StateBadge>
          {share !== null && <Text size="sm">{share}</Text>}
        </Group>
      </Table.Td>
      <Table.Td className={classes.by}>
        <Who by={stop.by} />
      </Table.Td>
      <Table.Td className={classes.reason}>
        {stop.reason === null ? '–' : <Untrusted text={stop.reason} />}
      </Table.Td>
    </Table.Tr>
  )
}
