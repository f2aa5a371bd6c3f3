import type { z } from 'zod'

import type { PlanFields } from '../machineid/wire-orgs.ts'
import { PLAN_LIMITS } from '../machineid/wire.ts'
import type { OrgRecord } from './records.ts'

export type PlanView = z.infer<typeof PlanFields>

/** The plan as every answer of MachineID's API shows it. There is no grace: caps hold at once. */
export function planFields(org: OrgRecord): PlanView {
  return {
    planTier: org.planTier,
    planState: org.planState,
    accessUntil: org.accessUntilMs === null ? null : new Date(org.accessUntilMs).toISOString(),
    limit: org.cap,
    devicesUsed: org.used,
    remaining: Math.max(0, org.cap - org.used),
    overLimit: org.used > org.cap,
    softGraceWindow: false,
  }
}

interface PlanState {
  readonly planState: string
  readonly accessUntilMs: number | null
  readonly cap: number
}

/** A canceled plan keeps its cap until its end; from then on it is that of the free plan. */
export function effectivePlan(
  plan: PlanState,
  nowMs: number,
): { readonly planState: string; readonly cap: number } {
  return hasEnded(plan, nowMs) ? { planState: 'active', cap: PLAN_LIMITS.free } : plan
}

/** The org as it is once its canceled plan has ended; undefined while that is not so. */
export function endedPlan(org: OrgRecord, nowMs: number): OrgRecord | undefined {
  return hasEnded(org, nowMs) ? onFreePlan(org) : undefined
}

/** The org as it is by now, whether or not the end of its plan has been written down. */
export function planAsOf(org: OrgRecord, nowMs: number): OrgRecord {
  return endedPlan(org, nowMs) ?? org
}

export function onFreePlan(org: OrgRecord): OrgRecord {
  return { ...org, planTier: 'free', planState: 'active', accessUntilMs: null, cap: PLAN_LIMITS.free }
}

function hasEnded({ planState, accessUntilMs }: PlanState, nowMs: number): boolean {
  return planState === 'canceled' && accessUntilMs !== null && accessUntilMs <= nowMs
}
