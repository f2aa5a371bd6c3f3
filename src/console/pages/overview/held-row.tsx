import { Anchor, Group, Text } from '@mantine/core'
import type { ReactNode } from 'react'
import { Link } from 'wouter'

import { useCall } from '../../api/use-call.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { When } from '../../ui/when.tsx'
import { Who } from '../../ui/who.tsx'

export interface HeldRowProps {
  readonly title: ReactNode
  /** Left out: looked up in the history of stops. */
  readonly by?: string | null
  readonly reason: string | null
  readonly since: string | null
  readonly remindAt?: string | null
  readonly overdue?: boolean
  readonly epoch?: number
}

/** Something that is stopped now. */
export function HeldRow({ title, by, reason, since, remindAt = null, overdue = false, epoch }: HeldRowProps) {
  return (
    <li className="held">
      <Group justify="space-between" gap="xs" align="flex-start">
        <Text size="sm" fw={600} component="div" className="held-title">
          {title}
        </Text>
        <Group gap="xs" justify="flex-end" className="held-badges">
          {overdue && <StateBadge look="warn">overdue</StateBadge>}
          <StateBadge look="bad">stopped</StateBadge>
        </Group>
      </Group>
      <Text size="sm" component="div">
        {reason === null ? 'No reason was given.' : <Untrusted text={reason} />}
      </Text>
      <Text size="xs" component="div">
        By {by === undefined ? <HeldBy epoch={epoch} /> : <Who by={by} />}, <When at={since} />
        {remindAt !== null && (
          <>
            {' · '}reminder <When at={remindAt} ahead />
          </>
        )}
        {epoch !== undefined && (
          <>
            {' · '}
            <Anchor component={Link} href={`/stops/${epoch}`} inherit>
              Stop {epoch}
            </Anchor>
          </>
        )}
      </Text>
    </li>
  )
}

function HeldBy({ epoch }: { readonly epoch: number | undefined }) {
  const { data } = useCall('stopHistory', { epoch: String(epoch) }, { enabled: epoch !== undefined })
  return <Who by={data?.stops[0]?.by ?? null} />
}
