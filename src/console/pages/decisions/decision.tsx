import { Stack, Text } from '@mantine/core'

import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { Copyable } from '../../ui/copyable.tsx'
import { idOfPath } from '../../ui/id-of-path.ts'
import { Page } from '../../ui/page.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { plain } from '../../ui/plain.ts'
import { DecisionCard } from './decision-card.tsx'
import { LocalDecision } from './local-decision.tsx'
import { RequestSearch } from './request-search.tsx'

const LOCAL = 'local_'

/** Why one call was decided as it was, and what to do. */
export function Decision() {
  const id = idOfPath(window.location.pathname)
  return (
    <Page title="Decision">
      <Copyable text={id} what="the request_id" />
      {id.startsWith(LOCAL) ? <LocalDecision key={id} /> : <StoredDecision key={id} id={id} />}
      <RequestSearch key={`search ${id}`} />
    </Page>
  )
}

function StoredDecision({ id }: { readonly id: string }) {
  const answer = useCall(
    'decisions',
    { request_id: id },
    // Decisions are stored a moment after they are made. What holds now may change later.
    { everyMs: (last) => (last?.decisions.length === 0 ? 2000 : 3000) },
  )
  return (
    <Answer of={answer}>
      {({ decisions, note }) =>
        decisions.length === 0 ? (
          <Empty title="No decision of this id is known.">
            {note !== undefined && <Text size="sm">{plain(note)}</Text>}
            <PageLink to="/decisions">See what is decided now</PageLink>
          </Empty>
        ) : (
          <Stack gap="lg">
            {decisions.length > 1 && (
              <Text size="sm">
                One question about {decisions.length} devices. The call goes on only when each of them is
                allowed.
              </Text>
            )}
            {decisions
              .toSorted((one, other) => Number(one.allowed) - Number(other.allowed))
              .map((decision) => (
                <DecisionCard key={decision.deviceId} decision={decision} />
              ))}
          </Stack>
        )
      }
    </Answer>
  )
}
