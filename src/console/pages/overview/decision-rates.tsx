import { Anchor, Text } from '@mantine/core'
import { Link } from 'wouter'

import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { RatesChart } from '../../ui/chart/rates-chart.tsx'
import { rateSeries } from '../../ui/chart/rate-series.ts'
import { Section } from '../../ui/section.tsx'
import { timeOfDay, useNow } from '../../ui/when.tsx'

const EVERY_MS = 5000

/** How many decisions were made in each minute of the last hour, whether they are stored or not. */
export function DecisionRates() {
  const rates = useCall('decisionRates', {}, { everyMs: EVERY_MS })
  const nowMs = useNow(EVERY_MS)
  return (
    <Section
      title="Decisions per minute"
      aside={
        <Anchor component={Link} href="/decisions" size="sm">
          Live feed
        </Anchor>
      }
    >
      <Answer of={rates}>
        {(data) => {
          const series = rateSeries(data, nowMs)
          return series.length === 0 ? (
            <Text size="sm">
              No decision since {timeOfDay(data.since)}. Each hold point that asks is counted here.
            </Text>
          ) : (
            <>
              <RatesChart series={series} />
              {isYoung(data.since, nowMs) && (
                <Text size="xs">
                  The control plane counts since {timeOfDay(data.since)}, when it was started.
                </Text>
              )}
            </>
          )
        }}
      </Answer>
    </Section>
  )
}

/** Less than an hour of it. A minute more or less is a matter of two clocks. */
function isYoung(since: string, nowMs: number): boolean {
  return nowMs - Date.parse(since) < 58 * 60_000
}
