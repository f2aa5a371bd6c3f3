import { Alert, Stack, Text, Title } from '@mantine/core'

import type { ApprovalBody } from '../../../machineid/wire-approvals.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { Copyable } from '../../ui/copyable.tsx'
import { count } from '../../ui/count.ts'
import { Fact, Facts } from '../../ui/facts.tsx'
import { idOfPath } from '../../ui/id-of-path.ts'
import { Page } from '../../ui/page.tsx'
import { PageLink } from '../../ui/page-link.tsx'
import { plain } from '../../ui/plain.ts'
import { prettyJson } from '../../ui/pretty-json.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { TextBox } from '../../ui/text-box.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import { Who } from '../../ui/who.tsx'
import { APPROVAL_LOOKS, whatFollows } from './approval-words.ts'
import { Countdown } from './countdown.tsx'
import { Decide } from './decide.tsx'
import { DevicesNow } from './devices-now.tsx'
import { Frozen } from './frozen.tsx'

export function Approval() {
  const id = idOfPath(window.location.pathname)
  return <OneApproval key={id} id={id} />
}

function OneApproval({ id }: { readonly id: string }) {
  const answer = useCall('approval', { id }, { everyMs: 3000 })
  const approval = answer.data?.approval
  return (
    <Page title={approval === undefined ? 'Approval' : `Approval: ${plain(approval.tool)}`}>
      <Frozen />
      <Answer of={answer}>
        {({ approval: shown, orgEpoch }) => <ApprovalSections approval={shown} orgEpoch={orgEpoch} />}
      </Answer>
    </Page>
  )
}

function ApprovalSections({
  approval,
  orgEpoch,
}: {
  readonly approval: ApprovalBody
  readonly orgEpoch: number
}) {
  const { argumentsJson, message } = approval
  const follows = whatFollows(approval)
  return (
    <Stack gap="xl">
      <State approval={approval} />
      {follows !== undefined && (
        <Alert color="gray" variant="outline" title="What happens next" role="status">
          {message !== null && (
            <Text size="sm" mb={4}>
              Message: <Untrusted text={message} />
            </Text>
          )}
          <Text size="sm">{follows}</Text>
        </Alert>
      )}
      <Stack gap="sm" component="section" aria-label="Arguments">
        <Title order={2} size="h4">
          Arguments
        </Title>
        <TextBox label="The exact arguments that would run" text={prettyJson(argumentsJson)} />
        <Text size="xs">
          {count(argumentsJson.length, 'character')}, whole; line breaks and indents are added. A character
          that would not be seen is shown by its code.
        </Text>
      </Stack>
      <Decide approval={approval} orgEpoch={orgEpoch} />
      <About approval={approval} />
      <DevicesNow devices={approval.devices} />
    </Stack>
  )
}

function State({ approval }: { readonly approval: ApprovalBody }) {
  const { state, expiresAt, askedAt, decidedAt, decidedBy } = approval
  const { look, name } = APPROVAL_LOOKS[state]
  return (
    <Facts>
      <Fact name="State">
        <StateBadge look={look}>{name}</StateBadge>
      </Fact>
      {state === 'waiting' ? (
        <Fact name="Time left">
          <Countdown expiresAt={expiresAt} />
        </Fact>
      ) : (
        decidedAt !== null && (
          <Fact name="Decided">
            <When at={decidedAt} /> by <Who by={decidedBy} />
          </Fact>
        )
      )}
      <Fact name="Asked">
        <When at={askedAt} />
      </Fact>
    </Facts>
  )
}

function About({ approval }: { readonly approval: ApprovalBody }) {
  const { tool, surface, agent, caller, runId, callId, digest, approvalId } = approval
  return (
    <Stack gap="sm" component="section" aria-label="The call">
      <Title order={2} size="h4">
        The call
      </Title>
      <Facts>
        <Fact name="Tool">
          <Untrusted text={tool} mono />
        </Fact>
        <Fact name="Surface">
          <Untrusted text={surface} />
        </Fact>
        <Fact name="Agent">
          <Untrusted text={agent} />
        </Fact>
        <Fact name="Started by">
          <Untrusted text={caller} />
        </Fact>
        <Fact name="Run">
          <PageLink to={`/runs/${encodeURIComponent(runId)}`}>
            <Untrusted text={runId} mono />
          </PageLink>
        </Fact>
        <Fact name="Call">
          <Untrusted text={callId} mono />
        </Fact>
        <Fact name="Approval">
          <Untrusted text={approvalId} mono />
        </Fact>
      </Facts>
      <Facts cols={{ base: 1 }}>
        <Fact name="Digest of the arguments (SHA-256)">
          <Copyable text={digest} what="the digest" />
        </Fact>
      </Facts>
    </Stack>
  )
}
