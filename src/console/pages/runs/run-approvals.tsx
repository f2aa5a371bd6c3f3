import { Group, Stack, Title } from '@mantine/core'

import type { ApprovalBody } from '../../../machineid/wire-approvals.ts'
import { PageLink } from '../../ui/page-link.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { APPROVAL_LOOKS } from '../approvals/approval-words.ts'
import { Countdown } from '../approvals/countdown.tsx'

/** The approvals that a run asked for. Nothing stands here where it asked for none. */
export function RunApprovals({ approvals }: { readonly approvals: readonly ApprovalBody[] }) {
  if (approvals.length === 0) return null
  return (
    <Stack gap="sm" component="section" aria-label="Approvals">
      <Title order={2} size="h4">
        Approvals
      </Title>
      <ul className="plain-list">
        {approvals.map(({ approvalId, tool, callId, state, expiresAt }) => (
          <Group key={approvalId} component="li" gap="sm" fz="sm">
            <StateBadge look={APPROVAL_LOOKS[state].look}>{APPROVAL_LOOKS[state].name}</StateBadge>
            <PageLink to={`/approvals/${encodeURIComponent(approvalId)}`}>
              <Untrusted text={tool} mono /> of call <Untrusted text={callId} mono />
            </PageLink>
            {state === 'waiting' && <Countdown expiresAt={expiresAt} />}
          </Group>
        ))}
      </ul>
    </Stack>
  )
}
