import { Group, Paper, Stack, Text, Title } from '@mantine/core'

import { mayReadEvidence } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { plain } from '../../ui/plain.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime } from '../../ui/when.tsx'
import { stepWords, type HoldPoint, type PlainStep, type TimelineGroup } from './timeline.ts'

/** One call of a run with its hold points, or what belongs to the run itself. */
export function TimelineGroupView({
  group: { callId, tool, entries },
  startedAt,
  approvalId,
}: {
  readonly group: TimelineGroup
  readonly startedAt: string
  /** The newest one that this call asked for. */
  readonly approvalId: string | undefined
}) {
  return (
    <Paper withBorder p="md" component="article">
      <Stack gap="sm">
        <Title order={3} size="h6" className="untrusted">
          {callId === null ? 'The run' : `Call of ${plain(tool ?? 'a tool')}`}
          {callId !== null && (
            <Text component="span" size="sm" fw={400}>
              {' '}
              <Untrusted text={callId} mono />
            </Text>
          )}
        </Title>
        <ol className="plain-list">
          {entries.map((entry, at) => (
            <Group key={at} component="li" gap="sm" align="flex-start">
              <Text
                component="time"
                size="sm"
                className="numbers"
                dateTime={entry.at}
                title={absoluteTime(entry.at)}
                w={72}
              >
                {offset(startedAt, entry.at)}
              </Text>
              <Group gap="sm" flex={1} miw={220}>
                {entry.is === 'hold' ? (
                  <HoldEntry hold={entry} />
                ) : (
                  <StepEntry step={entry} approvalId={approvalId} />
                )}
              </Group>
            </Group>
          ))}
        </ol>
      </Stack>
    </Paper>
  )
}

function HoldEntry({ hold: { boundary, surface, deviceId, decision } }: { readonly hold: HoldPoint }) {
  return (
    <>
      {decision === undefined ? (
        <StateBadge look="quiet">asked</StateBadge>
      ) : (
        <StateBadge look={decision.allowed ? 'good' : 'bad'}>
          {decision.allowed ? 'allowed' : plain(decision.code)}
        </StateBadge>
      )}
      <Text size="sm">
        hold point <Untrusted text={boundary} mono />
        {surface !== null && (
          <>
            {' '}
            on <Untrusted text={surface} />
          </>
        )}
        {deviceId !== null && (
          <>
            , <Untrusted text={deviceId} mono />
          </>
        )}
        {decision?.latencyMs != null && `, ${decision.latencyMs.toFixed(1)} ms`}
      </Text>
      {decision?.requestId != null && <RequestId id={decision.requestId} code={decision.code} />}
    </>
  )
}

/** Why it was decided so. Local denials are explained by their code. */
function RequestId({ id, code }: { readonly id: string; readonly code: string }) {
  const session = useSession()
  if (!mayReadEvidence(session)) return <Untrusted text={id} mono />
  const query = id.startsWith('local_') ? `?code=${encodeURIComponent(code)}` : ''
  return (
    <Text size="sm" component="span">
      <PageLink to={`/decisions/${encodeURIComponent(id)}${query}`}>
        <Untrusted text={id} mono />
      </PageLink>
    </Text>
  )
}

/** Named elsewhere already. */
const TOLD_ELSEWHERE = ['call_id', 'tool', 'digest', 'runId', 'request_id']

function StepEntry({
  step: { type, detail },
  approvalId,
}: {
  readonly step: PlainStep
  readonly approvalId: string | undefined
}) {
  const told = Object.entries(detail).filter(
    ([name, value]) => value !== null && !TOLD_ELSEWHERE.includes(name),
  )
  return (
    <Text size="sm">
      {type === 'approval_asked' && approvalId !== undefined ? (
        <PageLink to={`/approvals/${encodeURIComponent(approvalId)}`}>{stepWords(type)}</PageLink>
      ) : (
        plain(stepWords(type))
      )}
      {told.map(([name, value]) => (
        <span key={name}>
          , <Untrusted text={name.replaceAll('_', ' ')} />{' '}
          {name.endsWith('_at') && typeof value === 'string' && !Number.isNaN(Date.parse(value)) ? (
            absoluteTime(value)
          ) : (
            <Untrusted text={String(value)} mono />
          )}
        </span>
      ))}
    </Text>
  )
}

/** `+1.20 s` since the run began. */
function offset(startedAt: string, at: string): string {
  const ms = Math.max(0, Date.parse(at) - Date.parse(startedAt))
  if (ms < 1000) return `+${ms} ms`
  return ms < 600_000 ? `+${(ms / 1000).toFixed(2)} s` : `+${Math.round(ms / 60_000)} min`
}
