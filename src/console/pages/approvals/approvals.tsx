import { Group, NativeSelect, Paper, Stack, Text } from '@mantine/core'

import type { ApprovalBody } from '../../../machineid/wire-approvals.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { count } from '../../ui/count.ts'
import { Page } from '../../ui/page.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { Pager, usePager } from '../../ui/pager.tsx'
import { plain } from '../../ui/plain.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { useFilters } from '../../ui/use-filters.ts'
import { When } from '../../ui/when.tsx'
import { APPROVAL_LOOKS } from './approval-words.ts'
import { Countdown } from './countdown.tsx'
import { Frozen } from './frozen.tsx'

const STATES = [
  { value: '', label: 'All, waiting first' },
  { value: 'waiting', label: 'Waiting' },
  { value: 'approved', label: 'Approved' },
  { value: 'declined', label: 'Declined' },
  { value: 'expired', label: 'Expired' },
  { value: 'withdrawn', label: 'Withdrawn' },
]
const PAGE = 50
/** Of the arguments, in the list. */
const TEASER = 140

/** The calls that wait for a person, those that expire first on top. */
export function Approvals() {
  const [{ state }, setFilters] = useFilters(['state'])
  const pager = usePager(state)
  const wanted = isState(state) ? state : undefined
  const approvals = useCall(
    'approvals',
    {
      limit: PAGE,
      ...(wanted !== undefined && { state: wanted }),
      ...(pager.cursor !== undefined && { cursor: pager.cursor }),
    },
    { everyMs: 3000 },
  )
  return (
    <Page title="Approvals">
      <Frozen />
      <Group align="flex-end">
        <NativeSelect
          label="Show"
          data={STATES}
          value={wanted ?? ''}
          onChange={(event) => setFilters({ state: event.currentTarget.value })}
        />
        <Text size="sm" role="status" pb={8}>
          {approvals.data !== undefined && waitingText(approvals.data.waiting)}
        </Text>
      </Group>
      <Answer of={approvals}>
        {({ approvals: shown, nextCursor }) => (
          <Stack>
            {shown.length === 0 ? (
              <Empty
                title={wanted === undefined ? 'Nothing waits, and nothing did.' : 'There are none of these.'}
              >
                When an agent calls a tool that needs approval, its run pauses and the call stands here, with
                the exact arguments that would run.
              </Empty>
            ) : (
              <ul className="plain-list">
                {shown.map((approval) => (
                  <li key={approval.approvalId}>
                    <ApprovalCard approval={approval} />
                  </li>
                ))}
              </ul>
            )}
            <Pager pager={pager} nextCursor={nextCursor} what="approvals" />
          </Stack>
        )}
      </Answer>
    </Page>
  )
}

function ApprovalCard({ approval }: { readonly approval: ApprovalBody }) {
  const { approvalId, tool, surface, agent, caller, argumentsJson, state, expiresAt, askedAt } = approval
  const { look, name } = APPROVAL_LOOKS[state]
  const isCut = argumentsJson.length > TEASER
  return (
    <Paper withBorder p="md">
      <Stack gap={6}>
        <Group gap="sm" justify="space-between">
          <Text fw={600} component="div">
            <PageLink to={`/approvals/${encodeURIComponent(approvalId)}`}>
              <Untrusted text={tool} mono />
            </PageLink>
          </Text>
          <Group gap="sm">
            {state === 'waiting' && <Countdown expiresAt={expiresAt} />}
            <StateBadge look={look}>{name}</StateBadge>
          </Group>
        </Group>
        <Text size="sm" className="untrusted mono">
          <bdi>{plain(argumentsJson.slice(0, TEASER))}</bdi>
          {isCut && ` … and ${count(argumentsJson.length - TEASER, 'more character')}`}
        </Text>
        <Text size="sm">
          on <Untrusted text={surface} />, by agent <Untrusted text={agent} />, started by{' '}
          <Untrusted text={caller} />, asked <When at={askedAt} />
        </Text>
      </Stack>
    </Paper>
  )
}

function waitingText(waiting: number): string {
  return waiting === 0 ? 'No call waits.' : `${count(waiting, 'call')} ${waiting === 1 ? 'waits' : 'wait'}.`
}

function isState(state: string | undefined): state is ApprovalBody['state'] {
  return state !== undefined && Object.hasOwn(APPROVAL_LOOKS, state)
}
