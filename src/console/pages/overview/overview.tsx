import { SimpleGrid } from '@mantine/core'

import { mayReadEvidence } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { Page } from '../../ui/page.tsx'
import { DecisionRates } from './decision-rates.tsx'
import { PlanUse } from './plan-use.tsx'
import { Replicas } from './replicas.tsx'
import { Stopped } from './stopped.tsx'
import { UnknownOutcomes } from './unknown-outcomes.tsx'
import { Verdict } from './verdict.tsx'
import { WaitingApprovals } from './waiting-approvals.tsx'

export function Overview() {
  const session = useSession()
  return (
    <Page title="Overview">
      <Verdict />
      <Stopped />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <WaitingApprovals />
        <UnknownOutcomes />
        <PlanUse />
        <Replicas />
      </SimpleGrid>
      {mayReadEvidence(session) && <DecisionRates />}
    </Page>
  )
}
