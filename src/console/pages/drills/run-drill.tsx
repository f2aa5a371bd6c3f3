import { Button, Group, Paper, Stack, Text, Title } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQueryClient } from '@tanstack/react-query'

import { mayRestore } from '../../api/roles.ts'
import type { Output } from '../../api/routes.ts'
import { useSession } from '../../api/session-state.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { TextBox } from '../../ui/text-box.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import { RunDialog } from './run-dialog.tsx'

type Run = Output<'drillRun'>['run']

const STATES = {
  running: { look: 'warn', text: 'running' },
  held: { look: 'good', text: 'held' },
  not_held: { look: 'bad', text: 'not held' },
  failed: { look: 'bad', text: 'failed' },
} as const

/** A drill that the control plane runs by itself: how it goes, and the way to start one. */
export function RunDrill() {
  const session = useSession()
  const known = useQueryClient().getQueryData<Output<'drillRun'>>(['drillRun', {}])
  const run = useCall('drillRun', {}, { everyMs: known?.run.state === 'running' ? 1000 : 10_000 })
  const [opened, { open, close }] = useDisclosure()
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="run">
      <Stack gap="sm">
        <Group justify="space-between" gap="xs">
          <Title order={2} size="h4" id="run">
            Run a drill
          </Title>
          {mayRestore(session) && run.data !== undefined && run.data.run.state !== 'off' && (
            <Button onClick={open} disabled={run.data.run.state === 'running'}>
              Run a drill
            </Button>
          )}
        </Group>
        <Text size="sm" maw={820}>
          A drill stops a canary, a device that nothing else uses, on every tool server, calls it all the
          while, and restores it. It shows that no call that was sent after a stop starts, and how fast what
          runs ends.
        </Text>
        <Answer of={run}>{({ run: now }) => (now.state === 'off' ? <Off /> : <Progress run={now} />)}</Answer>
        {!mayRestore(session) && <Text size="sm">To run one takes an operator, admin or full key.</Text>}
      </Stack>
      <RunDialog opened={opened} onClose={close} />
    </Paper>
  )
}

function Off() {
  return (
    <Stack gap="xs">
      <Text size="sm" maw={820}>
        This control plane was not told of tool servers, so it can run none by itself. Set{' '}
        <code>DRILL_TOOL_SERVER_URL</code> (their URLs, with commas between) and <code>DRILL_TOKEN</code> or{' '}
        <code>DRILL_TOKEN_FILE</code> (of a caller with runs:approve), with several orgs{' '}
        <code>DRILL_ORG_ID</code> too, and start it anew. Or run one from a terminal:
      </Text>
      <TextBox label="The command that runs a drill" text="npx holdpoint drill" />
    </Stack>
  )
}

function Progress({ run: { state, startedAt, endedAt, by, drillId, lines } }: { readonly run: Run }) {
  if (state === 'off' || state === 'idle')
    return <Text size="sm">None was started here since the control plane began.</Text>
  const { look, text } = STATES[state]
  return (
    <Stack gap="xs">
      <Group gap="xs">
        <StateBadge look={look}>{text}</StateBadge>
        <Text size="sm" role="status">
          The last one that was started here {state === 'running' ? 'goes on' : 'is over'}.
        </Text>
        <Text size="sm">
          Started <When at={startedAt} />
          {by !== null && (
            <>
              {' '}
              by <Untrusted text={by} />
            </>
          )}
          {endedAt !== null && (
            <>
              , ended <When at={endedAt} />
            </>
          )}
          .
        </Text>
        {drillId !== null && <PageLink to={`/drills/${encodeURIComponent(drillId)}`}>Its report</PageLink>}
      </Group>
      {lines.length > 0 && (
        <div role="log">
          <TextBox label="What the drill says" text={lines.join('\n')} />
        </div>
      )}
    </Stack>
  )
}
