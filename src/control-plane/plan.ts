import type { z } from 'zod'

import type { PlanFields } from '../machineid/wire.ts'
import type { OrgRecord } from './store.ts'

export type PlanView = z.infer<typeof PlanFields>

/** The plan as every answer of MachineID's API shows it. There is no grace: caps hold at once. */
export function planFields(org: OrgRecord): PlanView {
  return {
    planTier: org.planTier,
    planState: org.planState,
    accessUntil: null,
    limit: org.cap,
    devicesUsed: org.used,
    remaining: Math.max(0, org.cap - org.used),
    overLimit: org.used > org.cap,
    softGraceWindow: false,
  }
}
