import { Code, Group, List, Paper, Stack, Text, Title } from '@mantine/core'

import { commandOf } from '../../../next-commands.ts'
import type { Output } from '../../api/routes.ts'
import { CopyText } from '../../ui/copyable.tsx'
import { Fact, Facts } from '../../ui/facts.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { plain } from '../../ui/plain.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime, When } from '../../ui/when.tsx'
import { Who } from '../../ui/who.tsx'

type Explained = Output<'decisions'>['decisions'][number]
type Explanation = NonNullable<Explained['explanation']>

/** One device's decision: why, who stopped it, what holds now, and what to do. */
export function DecisionCard({ decision }: { readonly decision: Explained }) {
  const { allowed, code, deviceId, explanation } = decision
  return (
    <Paper withBorder p="md" component="article" aria-label={`Decision on ${plain(deviceId)}`}>
      <Stack gap="md">
        <Group gap="sm">
          <StateBadge look={allowed ? 'good' : 'bad'}>
            {allowed ? 'allowed' : `denied: ${plain(code)}`}
          </StateBadge>
          <Title order={2} size="h5">
            <Untrusted text={deviceId} mono />
          </Title>
        </Group>
        {explanation !== undefined && (
          <Text>
            <Untrusted text={explanation.why} />
          </Text>
        )}
        <CallFacts decision={decision} />
        {explanation?.stop != null && <StopFacts stop={explanation.stop} />}
        {explanation !== undefined && <Now explanation={explanation} />}
      </Stack>
    </Paper>
  )
}

function CallFacts({ decision }: { readonly decision: Explained }) {
  const { at, boundary, asked, tool, callId, runId, replica, keyId } = decision
  return (
    <Facts>
      <Fact name="When">
        {absoluteTime(at)} (<When at={at} />)
      </Fact>
      <Fact name="Boundary">
        <Untrusted text={boundary ?? asked} mono />
      </Fact>
      {tool !== null && (
        <Fact name="Tool">
          <Untrusted text={tool} mono />
        </Fact>
      )}
      {callId !== null && (
        <Fact name="Call">
          <Untrusted text={callId} mono />
        </Fact>
      )}
      {runId !== null && (
        <Fact name="Run">
          <PageLink to={`/runs/${encodeURIComponent(runId)}`}>
            <Untrusted text={runId} mono />
          </PageLink>
        </Fact>
      )}
      <Fact name="Asked by">
        {replica !== null && (
          <>
            <Untrusted text={replica} mono />,{' '}
          </>
        )}
        key <Untrusted text={keyId} mono />
      </Fact>
    </Facts>
  )
}

function StopFacts({ stop }: { readonly stop: NonNullable<Explanation['stop']> }) {
  return (
    <Stack gap="xs" component="section" aria-label="The stop">
      <Title order={3} size="h6">
        What stopped it
      </Title>
      <Facts>
        <Fact name="Stop">
          {stop.epoch === null ? (
            <Untrusted text={stop.action} mono />
          ) : (
            <PageLink to={`/stops/${stop.epoch}`}>
              <Untrusted text={stop.action} mono />, epoch {stop.epoch}
            </PageLink>
          )}
        </Fact>
        <Fact name="By">
          <Who by={stop.by} />
        </Fact>
        <Fact name="At">
          {absoluteTime(stop.at)} (<When at={stop.at} />)
        </Fact>
        <Fact name="Reason">{stop.reason === null ? 'none given' : <Untrusted text={stop.reason} />}</Fact>
      </Facts>
    </Stack>
  )
}

function Now({ explanation: { now, next } }: { readonly explanation: Explanation }) {
  const commands = next.flatMap((step) => commandOf(step) ?? [])
  const advice = next.filter((step) => commandOf(step) === undefined)
  return (
    <Stack gap="xs" component="section" aria-label="What holds now, and what to do">
      <Title order={3} size="h6">
        Now, and what to do
      </Title>
      <Group gap="sm" role="status">
        <StateBadge look={now === 'ALLOW' ? 'good' : 'bad'}>
          {now === 'ALLOW' ? 'it would be allowed' : `still ${plain(now)}`}
        </StateBadge>
      </Group>
      {advice.length > 0 && (
        <List size="sm" spacing={4}>
          {advice.map((step) => (
            <List.Item key={step}>
              <Untrusted text={step} />
            </List.Item>
          ))}
        </List>
      )}
      {commands.map((command) => (
        <Group key={command} gap="sm" wrap="nowrap">
          <Code className="untrusted">npx {plain(command)}</Code>
          <CopyText text={`npx ${command}`} what="the command that restores" />
        </Group>
      ))}
    </Stack>
  )
}
