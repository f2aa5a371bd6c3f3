import { PLAN_LIMITS, type KeyKind, type PlanTier } from '../machineid/wire.ts'
import { LOCAL, type Decide } from './change.ts'
import { firstEpoch } from './generation.ts'
import { newOrgId } from './ids.ts'
import { newKey } from './keys.ts'
import { planAsOf, onFreePlan, planFields, type PlanView } from './plan.ts'
import { PREVIEW_DEVICES, type Preview } from './preview.ts'
import type { OrgRecord, PlanState } from './records.ts'
import { assertEpoch, existingOrg } from './refusal.ts'
import type { Caller, ServiceContext } from './service.ts'
import type { UsageCounts } from './store.ts'

export interface NewOrg {
  readonly orgId: string
  /** By kind. Shown once; only digests are stored. */
  readonly keys: Partial<Record<KeyKind, string>>
}

export interface SwitchResult {
  readonly orgId: string
  /** Of the org switch: what `ifEpoch` is compared with. */
  readonly epoch: number
  readonly orgEpoch: number
}

export interface PlanAsked {
  readonly tier: PlanTier
  readonly limit?: number | undefined
  /** Default `active`. */
  readonly state?: PlanState | undefined
  /** When a canceled plan ends, in wall-clock milliseconds. */
  readonly accessUntilMs?: number | undefined
}

interface SwitchAsked {
  readonly ifEpoch?: number | undefined
  readonly reason?: string | undefined
}

export interface OrgService {
  /** A new org on the free plan, with one key of each of `kinds`. */
  createOrg(options: {
    readonly kinds: readonly KeyKind[]
    readonly ownerEmail?: string | undefined
    readonly caller?: Caller | undefined
  }): Promise<NewOrg>
  countOrgs(): Promise<number>
  usage(orgId: string): Promise<UsageCounts>
  disableOrg(caller: Caller, orgId: string, reason?: string): Promise<SwitchResult>
  previewDisableOrg(caller: Caller, orgId: string): Promise<Preview>
  /** Refuses with `EPOCH_STALE` or `EPOCH_REQUIRED`. */
  enableOrg(caller: Caller, orgId: string, asked: SwitchAsked): Promise<SwitchResult>
  /** Caps at once: after a downgrade the lowest slots stay. */
  setPlan(caller: Caller, orgId: string, plan: PlanAsked): Promise<PlanView>
  /** Of a canceled plan: what its end will hit. */
  previewPlan(caller: Caller, orgId: string, plan: PlanAsked): Promise<Preview>
  /** Puts the orgs whose canceled plan has ended on the free one, each in one transaction. */
  endPlans(): Promise<void>
}

export function createOrgService(context: ServiceContext): OrgService {
  const { store, nowMs, change, create, preview, entry } = context

  const flipping =
    (caller: Caller, disabled: boolean, { ifEpoch, reason }: SwitchAsked): Decide<SwitchResult> =>
    ({ org }) => {
      const { orgId } = org
      if (!disabled) assertEpoch(org.orgSwitch.epoch, ifEpoch, 'the org switch')
      const epoch = org.epoch + 1
      const orgSwitch = { epoch, by: caller.actor, reason: reason ?? null, atMs: nowMs() }
      return {
        org: { ...org, epoch, disabled, orgSwitch },
        audit: [
          entry(caller, disabled ? 'org.disable' : 'org.enable', {
            reason: reason ?? null,
            before: { disabled: org.disabled, epoch: org.orgSwitch.epoch },
            after: { disabled, epoch },
          }),
        ],
        result: { orgId, epoch, orgEpoch: epoch },
      }
    }

  return {
    createOrg: async ({ kinds, ownerEmail, caller = LOCAL }) => {
      const orgId = newOrgId()
      const createdBy = caller.actor
      const minted = [...new Set(kinds)].map((kind) => newKey({ orgId, kind, createdBy, nowMs: nowMs() }))
      const keys = minted.map(({ record }) => record)
      const owners = ownerEmail === undefined ? [] : [ownerEmail]
      await create(orgId, {
        org: newOrg(orgId, firstEpoch(store.generation)),
        addOwners: owners,
        keys,
        audit: [
          entry(caller, 'org.create', {
            after: { owners, keys: keys.map(({ keyId, kind }) => ({ keyId, kind })) },
          }),
        ],
        result: undefined,
      })
      return { orgId, keys: Object.fromEntries(minted.map(({ key, record }) => [record.kind, key])) }
    },

    countOrgs: () => store.countOrgs(),
    usage: async (orgId) => {
      const usage = await store.findUsage(orgId, nowMs())
      const org = existingOrg(usage?.org)
      return { revoked: 0, overdue: 0, ...usage, org: planAsOf(org, nowMs()) }
    },

    disableOrg: (caller, orgId, reason) =>
      change(caller, orgId, { isStop: true }, flipping(caller, true, { reason })),
    previewDisableOrg: (caller, orgId) => preview(caller, orgId, wantAll, flipping(caller, true, {})),
    enableOrg: (caller, orgId, asked) => change(caller, orgId, {}, flipping(caller, false, asked)),

    setPlan: (caller, orgId, plan) =>
      change(caller, orgId, {}, ({ org }) => {
        const asked = withPlan(org, plan)
        const after = planAsOf(asked, nowMs())
        return {
          org: after,
          audit: [entry(caller, 'org.plan', { before: planFields(org), after: planFields(after) })],
          result: planFields(after),
        }
      }),
    previewPlan: (caller, orgId, plan) => {
      const stops = plan.state === 'frozen' || plan.state === 'unpaid'
      // Of a canceled one, what its end will hit, and what a smaller cap hits until then.
      const cap = plan.state === 'canceled' ? Math.min(PLAN_LIMITS.free, capOf(plan)) : capOf(plan)
      const after = (org: OrgRecord) =>
        plan.state === 'canceled' ? { ...onFreePlan(org), cap } : withPlan(org, plan)
      const wanted = stops ? wantAll : { devices: { slotAbove: cap }, deviceLimit: PREVIEW_DEVICES }
      return preview(caller, orgId, wanted, ({ org }) => ({ org: after(org), result: undefined }))
    },

    endPlans: async () => {
      // The change itself notices that the plan has ended; there is nothing more to decide.
      for (const orgId of await store.plansEnded(nowMs())) {
        await change(LOCAL, orgId, {}, () => ({ result: undefined }))
      }
    },
  }
}

const wantAll = { devices: { all: true }, deviceLimit: PREVIEW_DEVICES } as const

function newOrg(orgId: string, epoch: number): OrgRecord {
  return {
    orgId,
    epoch,
    disabled: false,
    orgSwitch: { epoch: 0, by: null, reason: null, atMs: null },
    planTier: 'free',
    planState: 'active',
    accessUntilMs: null,
    cap: PLAN_LIMITS.free,
    used: 0,
    activeLocks: 0,
  }
}

function capOf({ tier, limit }: PlanAsked): number {
  return tier === 'custom' ? (limit ?? 0) : PLAN_LIMITS[tier]
}

function withPlan(org: OrgRecord, plan: PlanAsked): OrgRecord {
  const { tier, state = 'active', accessUntilMs = null } = plan
  return { ...org, planTier: tier, planState: state, accessUntilMs, cap: capOf(plan) }
}
