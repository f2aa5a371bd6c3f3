import { z } from 'zod'

import { ChangeResponse } from '../machineid/wire-devices.ts'
import {
  OrgCreateRequest,
  OrgCreateResponse,
  OrgDisableRequest,
  OrgEnableRequest,
  OrgPlanRequest,
  OrgPlanResponse,
  UsageResponse,
} from '../machineid/wire-orgs.ts'
import { PATHS } from '../machineid/paths.ts'
import { orgRoute, platformRoute, type ApiContext, type Route } from './api-route.ts'
import { MAY_MANAGE, MAY_SEE, MAY_STOP } from './key-kinds.ts'
import type { PlanAsked } from './orgs.ts'
import { planFields } from './plan.ts'
import { isoOrNull } from './times.ts'

export function orgRoutes(context: ApiContext): Route[] {
  return [createRoute(context), planRoute(context), usageRoute(context), ...switchRoutes(context)]
}

function createRoute(context: ApiContext): Route {
  return platformRoute(context, 'open', {
    method: 'post',
    path: PATHS.orgCreate,
    handler: 'org_create',
    summary: 'Creates an org on the free plan',
    input: OrgCreateRequest,
    output: OrgCreateResponse,
    run: async ({ input: { email, kinds }, caller }) => {
      const { orgId, keys } = await context.service.createOrg({
        kinds: ['full', ...(kinds ?? [])],
        ownerEmail: email,
        caller,
      })
      const asked =
        kinds === undefined ? {} : { keys: Object.fromEntries(kinds.map((kind) => [kind, keys[kind]])) }
      return { body: { orgId, orgApiKey: keys.full, ...asked } }
    },
  })
}

function planRoute(context: ApiContext): Route {
  const { service } = context
  return platformRoute(context, 'platform', {
    method: 'post',
    path: PATHS.orgPlan,
    handler: 'org/plan',
    summary: 'Sets the plan of an org; the cap holds at once',
    input: OrgPlanRequest,
    output: OrgPlanResponse,
    refusals: ['ORG_NOT_FOUND'],
    preview: ({ input, caller }) => service.previewPlan(caller, input.orgId, askedOf(input)),
    run: async ({ input, caller }) => ({
      body: { orgId: input.orgId, ...(await service.setPlan(caller, input.orgId, askedOf(input))) },
    }),
  })
}

function askedOf({ tier, limit, state, accessUntil }: z.infer<typeof OrgPlanRequest>): PlanAsked {
  return {
    tier,
    limit,
    state,
    accessUntilMs: accessUntil === undefined ? undefined : Date.parse(accessUntil),
  }
}

function usageRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_SEE, {
    method: 'get',
    path: PATHS.usage,
    handler: 'usage',
    summary: 'Plan, counts, and whether the org is disabled',
    input: z.object({}),
    output: UsageResponse,
    run: async ({ orgId }) => {
      const { org, revoked, overdue } = await context.service.usage(orgId)
      const { epoch, by, reason, atMs } = org.orgSwitch
      return {
        body: {
          orgId,
          orgEpoch: org.epoch,
          ...planFields(org),
          revoked,
          locks: org.activeLocks,
          overdue,
          org: { disabled: org.disabled, epoch, by, reason, since: isoOrNull(atMs) },
        },
      }
    },
  })
}

function switchRoutes(context: ApiContext): Route[] {
  const { service } = context
  return [
    orgRoute(context, MAY_STOP, {
      method: 'post',
      path: PATHS.orgDisable,
      handler: 'org/disable',
      summary: 'Stops every device of the org',
      input: OrgDisableRequest,
      output: ChangeResponse,
      stop: true,
      preview: ({ caller, orgId }) => service.previewDisableOrg(caller, orgId),
      run: async ({ input, caller, orgId }) => ({
        body: { ...(await service.disableOrg(caller, orgId, input.reason)) },
      }),
    }),
    orgRoute(context, MAY_MANAGE, {
      method: 'post',
      path: PATHS.orgEnable,
      handler: 'org/enable',
      summary: 'Enables a disabled org, against the epoch of its switch',
      input: OrgEnableRequest,
      output: ChangeResponse,
      refusals: ['EPOCH_STALE', 'EPOCH_REQUIRED'],
      run: async ({ input, caller, orgId }) => ({
        body: { ...(await service.enableOrg(caller, orgId, input)) },
      }),
    }),
  ]
}
