import { Anchor, Progress, Text } from '@mantine/core'
import { Link } from 'wouter'

import { useUsage } from '../../app/use-org.ts'
import { Answer } from '../../ui/answer.tsx'
import { Section } from '../../ui/section.tsx'

/** How much of the cap is used. */
export function PlanUse() {
  const usage = useUsage()
  return (
    <Section
      title="Devices"
      aside={
        <Anchor component={Link} href="/plan" size="sm">
          Plan
        </Anchor>
      }
    >
      <Answer of={usage}>
        {({ devicesUsed, limit, remaining, overLimit, planTier }) => (
          <>
            <Text size="sm">
              {devicesUsed.toLocaleString('en')} of {limit.toLocaleString('en')} used, on the plan {planTier}.{' '}
              {overLimit
                ? 'More than the cap: the devices beyond it are denied.'
                : remaining === 0
                  ? 'The next register is refused.'
                  : `Room for ${remaining.toLocaleString('en')} more.`}
            </Text>
            <Progress
              value={limit === 0 ? 100 : Math.min(100, (100 * devicesUsed) / limit)}
              color={overLimit || remaining === 0 ? 'red' : 'indigo'}
              size="lg"
              aria-label={`${devicesUsed} of ${limit} devices used`}
            />
          </>
        )}
      </Answer>
    </Section>
  )
}
