import { Button, Group, NativeSelect, Stack, Table, TextInput } from '@mantine/core'
import { useState, type FormEvent } from 'react'

import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { Page } from '../../ui/page.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { Pager, usePager } from '../../ui/pager.tsx'
import { ScrollTable } from '../../ui/scroll-table.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { useFilters } from '../../ui/use-filters.ts'
import { When } from '../../ui/when.tsx'
import { RunState } from './run-state.tsx'
import { UnknownEffects } from './unknown-effects.tsx'

const PAGE = 50
const STATUSES = ['running', 'interrupted', 'queued', 'completed', 'denied', 'failed', 'cancelled']

/** What the tool servers told of the runs that they host. */
export function Runs() {
  const [filters, change] = useFilters(['status', 'agent'])
  const pager = usePager(JSON.stringify(filters))
  const runs = useCall(
    'runs',
    { limit: PAGE, ...filters, ...(pager.cursor !== undefined && { cursor: pager.cursor }) },
    { everyMs: 5000 },
  )
  return (
    <Page title="Runs">
      <UnknownEffects />
      <Group align="flex-end">
        <NativeSelect
          label="Status"
          data={[{ value: '', label: 'any' }, ...STATUSES]}
          value={filters.status ?? ''}
          onChange={(event) => change({ status: event.currentTarget.value })}
        />
        <AgentFilter
          key={filters.agent ?? ''}
          agent={filters.agent ?? ''}
          onChange={(agent) => change({ agent })}
        />
      </Group>
      <Answer of={runs}>
        {({ runs: shown, nextCursor }) => (
          <Stack>
            {shown.length === 0 ? (
              <Empty title="There is no such run.">
                Runs of hosted agents stand here as soon as their tool server tells of them. A run is started
                with POST /runs of a tool server.
              </Empty>
            ) : (
              <ScrollTable
                label="Runs, newest first"
                minWidth={860}
                head={['Run', 'Agent', 'Status', 'Started by', 'Started', 'Changed', 'Replica']}
              >
                {shown.map((run) => (
                  <Table.Tr key={run.runId}>
                    <Table.Th scope="row" fw={400}>
                      <PageLink to={`/runs/${encodeURIComponent(run.runId)}`}>
                        <Untrusted text={run.runId} mono />
                      </PageLink>
                    </Table.Th>
                    <Table.Td>
                      <Untrusted text={run.agent} />
                    </Table.Td>
                    <Table.Td>
                      <RunState run={run} />
                    </Table.Td>
                    <Table.Td>
                      <Untrusted text={run.caller} />
                    </Table.Td>
                    <Table.Td>
                      <When at={run.createdAt} />
                    </Table.Td>
                    <Table.Td>
                      <When at={run.changedAt} />
                    </Table.Td>
                    <Table.Td>
                      <Untrusted text={run.replica} mono />
                    </Table.Td>
                  </Table.Tr>
                ))}
              </ScrollTable>
            )}
            <Pager pager={pager} nextCursor={nextCursor} what="runs" />
          </Stack>
        )}
      </Answer>
    </Page>
  )
}

/** Asked for when it is entered, not letter by letter: it is compared as a whole. */
function AgentFilter({
  agent,
  onChange,
}: {
  readonly agent: string
  readonly onChange: (agent: string) => void
}) {
  const [text, setText] = useState(agent)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    onChange(text.trim())
  }
  return (
    <form onSubmit={submit}>
      <Group align="flex-end" gap="xs" wrap="nowrap">
        <TextInput
          label="Agent"
          maxLength={256}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <Button type="submit" variant="default">
          Show
        </Button>
      </Group>
    </form>
  )
}
