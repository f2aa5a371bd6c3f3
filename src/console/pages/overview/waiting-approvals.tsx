import { Anchor, Text } from '@mantine/core'
import { Link } from 'wouter'

import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { Section } from '../../ui/section.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'

const EVERY_MS = 10_000
const SHOWN = 3

/** Calls that wait for somebody's decision, those that expire first. */
export function WaitingApprovals() {
  const approvals = useCall('approvals', { state: 'waiting', limit: String(SHOWN) }, { everyMs: EVERY_MS })
  return (
    <Section
      title={`Waiting approvals${approvals.data === undefined ? '' : `: ${approvals.data.waiting}`}`}
      aside={
        <Anchor component={Link} href="/approvals" size="sm">
          Inbox
        </Anchor>
      }
    >
      <Answer of={approvals}>
        {({ approvals: waiting }) =>
          waiting.length === 0 ? (
            <Text size="sm">
              Nothing waits. Calls that need an approval stand here until somebody decides.
            </Text>
          ) : (
            <ul className="plain-list">
              {waiting.map(({ approvalId, tool, agent, expiresAt }) => (
                <li key={approvalId} className="held">
                  <Text size="sm" component="div">
                    <Anchor component={Link} href={`/approvals/${encodeURIComponent(approvalId)}`} inherit>
                      <Untrusted text={tool} mono />
                    </Anchor>{' '}
                    of <Untrusted text={agent} />, expires <When at={expiresAt} ahead />
                  </Text>
                </li>
              ))}
            </ul>
          )
        }
      </Answer>
    </Section>
  )
}
