import { Stack, Text, Title } from '@mantine/core'

import { useCall } from '../../api/use-call.ts'
import type { Output } from '../../api/routes.ts'
import { Answer, Empty } from '../../ui/answer.tsx'
import { CopyText } from '../../ui/copyable.tsx'
import { Fact, Facts } from '../../ui/facts.tsx'
import { idOfPath } from '../../ui/id-of-path.ts'
import { Page } from '../../ui/page.tsx'
import { plain } from '../../ui/plain.ts'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime, When } from '../../ui/when.tsx'
import { RunApprovals } from './run-approvals.tsx'
import { RunState } from './run-state.tsx'
import { isLive, timelineOf } from './timeline.ts'
import { TimelineGroupView } from './timeline-group.tsx'
import { UnknownEffects } from './unknown-effects.tsx'

export function Run() {
  const id = idOfPath(window.location.pathname)
  return <OneRun key={id} id={id} />
}

function OneRun({ id }: { readonly id: string }) {
  const answer = useCall(
    'run',
    { id },
    { everyMs: (last) => (last !== undefined && !isLive(last.run.status) ? 10_000 : 2000) },
  )
  return (
    <Page title={`Run ${plain(id)}`} actions={<CopyText text={id} what="the id of the run" />}>
      <UnknownEffects runId={id} />
      <Answer of={answer}>{(shown) => <RunSections shown={shown} />}</Answer>
    </Page>
  )
}

function RunSections({ shown: { run, steps } }: { readonly shown: Output<'run'> }) {
  const groups = timelineOf(steps)
  const approvals = useCall('approvals', { runId: run.runId, limit: 100 }, { everyMs: 3000 })
  // Newest first of those that are decided; one that waits comes before them.
  const approvalOf = (wanted: string | null) =>
    approvals.data?.approvals.find(({ callId }) => callId === wanted)?.approvalId
  return (
    <Stack gap="xl">
      <Facts>
        <Fact name="Status">
          <RunState run={run} />
        </Fact>
        <Fact name="Agent">
          <Untrusted text={run.agent} />
        </Fact>
        <Fact name="Started by">
          <Untrusted text={run.caller} />
        </Fact>
        <Fact name="Started">
          {absoluteTime(run.createdAt)} (<When at={run.createdAt} />)
        </Fact>
        <Fact name="Changed">
          <When at={run.changedAt} />
        </Fact>
        <Fact name="Replica">
          <Untrusted text={run.replica} mono />
        </Fact>
      </Facts>
      <RunApprovals approvals={approvals.data?.approvals ?? []} />
      <Stack gap="sm" component="section" aria-label="Timeline">
        <Title order={2} size="h4">
          Timeline
        </Title>
        {groups.length === 0 ? (
          <Empty title="No step is known yet.">
            Its tool server tells of steps a moment after they happen, without arguments and outputs.
          </Empty>
        ) : (
          groups.map((group) => (
            <TimelineGroupView
              key={`${group.callId ?? ''} ${group.at}`}
              group={group}
              approvalId={approvalOf(group.callId)}
              startedAt={run.createdAt}
            />
          ))
        )}
        <Text size="xs">
          As told by the tool server, without arguments and outputs; of a long run the newest 2,000 steps. Its
          own store has the whole: npx holdpoint runs show.
        </Text>
      </Stack>
    </Stack>
  )
}
