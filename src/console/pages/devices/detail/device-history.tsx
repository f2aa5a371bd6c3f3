import { Anchor, Code, List, Text } from '@mantine/core'
import { Link } from 'wouter'

import { useCall } from '../../../api/use-call.ts'
import { Answer } from '../../../ui/answer.tsx'
import { StateBadge } from '../../../ui/state-badge.tsx'
import { Untrusted } from '../../../ui/untrusted.tsx'
import { When } from '../../../ui/when.tsx'
import type { Device } from '../device-state.ts'
import type { DevicesData } from '../use-devices.ts'
import { Section } from './section.tsx'

const LAST = 10

export function LastDecisions({ deviceId }: { readonly deviceId: string }) {
  const answer = useCall('decisions', { device: deviceId, limit: LAST }, { everyMs: 5000 })
  return (
    <Section title="Last decisions">
      <Answer of={answer}>
        {({ decisions, note }) =>
          decisions.length === 0 ? (
            <Text size="sm">{note ?? 'None are stored.'}</Text>
          ) : (
            <List size="sm" spacing={4} listStyleType="none">
              {decisions.map(({ request_id: id, allowed, code, boundary, tool, asked, at }) => (
                <List.Item key={id}>
                  <StateBadge look={allowed ? 'good' : 'bad'}>{code}</StateBadge>{' '}
                  <Untrusted text={[boundary ?? asked, tool].filter(Boolean).join(' ')} /> <When at={at} />,{' '}
                  <Anchor component={Link} href={`/decisions/${encodeURIComponent(id)}`} size="sm">
                    why
                  </Anchor>
                </List.Item>
              ))}
            </List>
          )
        }
      </Answer>
    </Section>
  )
}

/** Of the audit; nothing where it cannot be asked for one device. */
export function LastChanges({
  device: { deviceId },
  keyNames,
}: {
  readonly device: Device
  readonly keyNames: DevicesData['keyNames']
}) {
  const { data } = useCall('audit', { device: deviceId, order: 'newest', limit: LAST })
  const rows = (data?.rows ?? []).filter((row) => row.deviceId === deviceId)
  if (rows.length === 0) return null
  return (
    <Section title="Last changes">
      <List size="sm" spacing={4} listStyleType="none">
        {rows.map(({ seq, action, actor, reason, at }) => (
          <List.Item key={seq}>
            <Code>{action}</Code> <When at={at} /> by <Untrusted text={keyNames.get(actor) ?? actor} />
            {reason !== null && (
              <>
                : <Untrusted text={reason} />
              </>
            )}
          </List.Item>
        ))}
      </List>
    </Section>
  )
}
