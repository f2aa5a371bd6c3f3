import { Group, Text } from '@mantine/core'

import type { RunRowBody } from '../../../machineid/wire-runs.ts'
import { plain } from '../../ui/plain.ts'
import { StateBadge } from '../../ui/state-badge.tsx'
import { RUN_LOOKS } from './timeline.ts'

/** How a run stands, and the code of a denial or failure. */
export function RunState({ run: { status, code } }: { readonly run: Pick<RunRowBody, 'status' | 'code'> }) {
  const look = Object.hasOwn(RUN_LOOKS, status) ? RUN_LOOKS[status] : undefined
  return (
    <Group gap={6}>
      <StateBadge look={look ?? 'quiet'}>{plain(status)}</StateBadge>
      {code !== null && (
        <Text size="sm" className="mono">
          {plain(code)}
        </Text>
      )}
    </Group>
  )
}
