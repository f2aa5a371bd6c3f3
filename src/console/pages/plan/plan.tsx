import { Alert, Anchor, List, Paper, Progress, Stack, Text, Title } from '@mantine/core'

import type { Output } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Answer } from '../../ui/answer.tsx'
import { Fact, Facts } from '../../ui/facts.tsx'
import { Page } from '../../ui/page.tsx'
import { StateBadge } from '../../ui/state-badge.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime } from '../../ui/when.tsx'
import { ChangePlan } from './change-plan.tsx'
import { TIERS } from './downgrade.ts'
import { WhatIf } from './what-if.tsx'

type Usage = Output<'usage'>

export function Plan() {
  const usage = useCall('usage', {}, { everyMs: 15_000 })
  return (
    <Page title="Plan">
      <Answer of={usage}>
        {(now) => (
          <>
            <Paper withBorder p="md">
              <Stack>
                <Now usage={now} />
                <UsedOfCap usage={now} />
                <Ends usage={now} />
              </Stack>
            </Paper>
            <Counts />
            <WhatIf usage={now} />
            <ChangePlan orgId={now.orgId} />
          </>
        )}
      </Answer>
    </Page>
  )
}

function Now({ usage }: { readonly usage: Usage }) {
  const isGood = usage.planState === 'active'
  const isCanceled = usage.planState === 'canceled'
  return (
    <Facts cols={{ base: 2, sm: 3, lg: 6 }}>
      <Fact name="Tier">
        <Untrusted text={usage.planTier} />
      </Fact>
      <Fact name="State">
        <StateBadge look={isGood ? 'good' : isCanceled ? 'warn' : 'bad'}>{usage.planState}</StateBadge>
      </Fact>
      <Fact name="Cap">{usage.limit.toLocaleString('en')}</Fact>
      <Fact name="Used">{usage.devicesUsed.toLocaleString('en')}</Fact>
      <Fact name="Remaining">{usage.remaining.toLocaleString('en')}</Fact>
      <Fact name="Access until">
        {usage.accessUntil === null ? 'without end' : absoluteTime(usage.accessUntil)}
      </Fact>
    </Facts>
  )
}

function UsedOfCap({ usage: { devicesUsed, limit, overLimit, remaining } }: { readonly usage: Usage }) {
  const percent = limit === 0 ? 100 : Math.min(100, (devicesUsed / limit) * 100)
  return (
    <Stack gap={4}>
      <Progress
        value={percent}
        size="lg"
        color={overLimit ? 'red' : remaining === 0 ? 'orange' : 'indigo'}
        aria-label={`${devicesUsed} of ${limit} slots used`}
      />
      {overLimit && (
        <Text size="sm" fw={600}>
          Over the cap: devices with a slot above {limit} are denied DEVICE_OVER_LIMIT. They are listed below.
        </Text>
      )}
      {!overLimit && remaining === 0 && (
        <Text size="sm" fw={600}>
          Every slot is taken: the next new device is refused DEVICE_LIMIT_REACHED.
        </Text>
      )}
    </Stack>
  )
}

function Ends({ usage: { planState, accessUntil } }: { readonly usage: Usage }) {
  if (planState === 'canceled' && accessUntil !== null) {
    return (
      <Alert
        color="orange"
        variant="outline"
        title={`The plan is canceled, and ends on ${absoluteTime(accessUntil)}`}
      >
        <Text size="sm">
          Until then its cap holds. Then the org is free, with {TIERS.free} devices:{' '}
          <Anchor href="#what-if" size="sm" underline="always">
            see below what that hits
          </Anchor>
          .
        </Text>
      </Alert>
    )
  }
  if (planState === 'active' || planState === 'canceled') return null
  return (
    <Alert color="red" variant="outline" title="The plan is not active">
      <Text size="sm">
        Every device is denied PLAN_NOT_ACTIVE until whoever holds the platform token changes it.
      </Text>
    </Alert>
  )
}

function Counts() {
  return (
    <Stack component="section" aria-labelledby="counts" gap="xs" maw={760}>
      <Title order={2} size="h4" id="counts">
        What counts
      </Title>
      <List size="sm" spacing={4}>
        <List.Item>Each registered device takes one slot, however many processes ask for it.</List.Item>
        <List.Item>
          A revoked or locked device keeps its slot until it is removed, so that the cap never refuses a
          restore.
        </List.Item>
        <List.Item>A removed device gives its slot back at once. Its ID stays denied.</List.Item>
        <List.Item>
          A surface that is mapped to its server&apos;s device takes none. Keys, runs and decisions are not
          counted.
        </List.Item>
      </List>
    </Stack>
  )
}
