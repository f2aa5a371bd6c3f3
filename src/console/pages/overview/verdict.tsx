import { Alert, Text } from '@mantine/core'

import { useIsCurrent, useOrgState, useUsage } from '../../app/use-org.ts'
import { Answer } from '../../ui/answer.tsx'
import { count } from '../../ui/count.ts'

const COLORS = { good: 'teal', bad: 'red', warn: 'orange', quiet: 'gray' } as const

/** Is everything allowed? */
export function Verdict() {
  const usage = useUsage()
  const { look, words } = useOrgState()
  const isCurrent = useIsCurrent()
  return (
    <Answer of={usage}>
      {({ org, devicesUsed, revoked, locks, overdue }) => (
        <Alert color={COLORS[look]} variant="outline" title={titleOf(isCurrent, look, words)}>
          <Text size="sm">
            {isCurrent ? '' : 'When it last answered: '}
            {count(devicesUsed, 'device')}
            {(!isCurrent || org.disabled) &&
              `, ${revoked.toLocaleString('en')} revoked; ${count(locks, 'lock')}`}
            {overdue > 0 && `; ${overdue.toLocaleString('en')} overdue`}.{' '}
            {org.disabled && 'While the org is disabled none of the others is allowed either.'}
          </Text>
        </Alert>
      )}
    </Answer>
  )
}

function titleOf(isCurrent: boolean, look: keyof typeof COLORS, words: string): string {
  if (!isCurrent) return 'Whether everything is allowed is not known.'
  return look === 'good' ? 'Everything is allowed.' : `Not everything is allowed: ${words}.`
}
