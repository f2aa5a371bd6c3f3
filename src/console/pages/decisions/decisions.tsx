import { Alert, Button, Group, Stack, Text } from '@mantine/core'

import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { count } from '../../ui/count.ts'
import { Page } from '../../ui/page.tsx'
import { plain } from '../../ui/plain.ts'
import { useFilters } from '../../ui/use-filters.ts'
import { DecisionFilterForm } from './decision-filters.tsx'
import { DecisionTable } from './decision-table.tsx'
import { MAX_KEPT } from './feed-list.ts'
import { RequestSearch } from './request-search.tsx'
import { useDecisions, type DecisionFilters } from './use-decisions.ts'

/** What was decided, as it is decided. */
export function Decisions() {
  const [{ allowed, ...texts }, change] = useFilters(['device', 'code', 'boundary', 'allowed'])
  const filters: DecisionFilters = {
    ...texts,
    ...((allowed === 'true' || allowed === 'false') && { allowed }),
  }
  const key = JSON.stringify(filters)
  return (
    <Page title="Decisions">
      <RequestSearch />
      <DecisionFilterForm key={`form ${key}`} filters={filters} onChange={change} />
      <WhatIsKept />
      <LiveDecisions key={key} filters={filters} />
    </Page>
  )
}

/** Whoever looks for an allow must know whether it would be here. */
function WhatIsKept() {
  const diagnosis = useCall('diagnosis', {})
  if (diagnosis.data?.decisionLog !== 'denials') return null
  return (
    <Text size="sm">
      Only denials are stored and shown. To have allowed decisions too, start the control plane with
      DECISION_LOG=all.
    </Text>
  )
}

function LiveDecisions({ filters }: { readonly filters: DecisionFilters }) {
  const { first, shown, paused, pause, resume, waiting, missed, reload } = useDecisions(filters)
  return (
    <Stack>
      <Group gap="sm">
        {paused ? (
          <Button onClick={resume}>Resume{waiting > 0 && ` (${waiting.toLocaleString('en')} new)`}</Button>
        ) : (
          <Button variant="default" onClick={pause}>
            Pause
          </Button>
        )}
        <Text size="sm">
          {paused ? 'Paused: what comes is kept until you resume.' : 'Live, newest on top.'}
        </Text>
      </Group>
      {missed !== undefined && (
        <Alert color="orange" variant="outline" title="Some decisions were missed" role="alert">
          <Group gap="sm">
            <Text size="sm">{plain(missed)}</Text>
            <Button size="compact-sm" variant="default" onClick={reload}>
              Load anew
            </Button>
          </Group>
        </Alert>
      )}
      <Answer of={first}>
        {() =>
          shown.length === 0 ? (
            <Empty title="No decision that fits is known.">
              Each question that an agent asks at a hold point stands here as soon as it is decided.
            </Empty>
          ) : (
            <>
              <DecisionTable decisions={shown} />
              <Text size="xs">
                {count(shown.length, 'decision')}
                {shown.length >= MAX_KEPT && ': no more are kept on this page. Filter to find older ones'}.
              </Text>
            </>
          )
        }
      </Answer>
    </Stack>
  )
}
