import { Alert, Text } from '@mantine/core'

import { useConnection } from '../../api/connection.ts'
import { useOrgState, useUsage } from '../../app/use-org.ts'
import { Answer } from '../../ui/answer.tsx'
import { count } from '../../ui/count.ts'

const COLORS = { good: 'teal', bad: 'red', warn: 'orange', quiet: 'gray' } as const

/** Is everything allowed? */
export function Verdict() {
  const usage = useUsage()
  const { look, words } = useOrgState()
  const { reachable } = useConnection()
  return (
    <Answer of={usage}>
      {({ org, devicesUsed, revoked, locks, overdue }) => (
        <Alert color={COLORS[look]} variant="outline" title={titleOf(reachable, look, words)}>
          <Text size="sm">
            {reachable ? '' : 'When it last answered: '}
            {count(devicesUsed, 'device')}; {count(revoked, 'revoked device')}; {count(locks, 'lock')}
            {overdue > 0 && `; ${overdue} overdue`}.{' '}
            {org.disabled && 'While the org is disabled none of the others is allowed either.'}
          </Text>
        </Alert>
      )}
    </Answer>
  )
}

function titleOf(reachable: boolean, look: keyof typeof COLORS, words: string): string {
  if (!reachable) return 'Whether everything is allowed is not known.'
  return look === 'good' ? 'Everything is allowed.' : `Not everything is allowed: ${words}.`
}
