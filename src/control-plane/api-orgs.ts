import { z } from 'zod'

import {
  OrgCreateRequest,
  OrgDisableRequest,
  OrgEnableRequest,
  OrgPlanRequest,
  PATHS,
} from '../machineid/wire.ts'
import { orgRoute, platformRoute, type ApiContext, type Route } from './api-route.ts'
import { planFields } from './plan.ts'

export function orgRoutes(context: ApiContext): Route[] {
  return [createRoute(context), planRoute(context), usageRoute(context), ...switchRoutes(context)]
}

function createRoute(context: ApiContext): Route {
  return platformRoute(context, 'open', {
    method: 'post',
    path: PATHS.orgCreate,
    handler: 'org_create',
    input: OrgCreateRequest,
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
  return platformRoute(context, 'platform', {
    method: 'post',
    path: PATHS.orgPlan,
    handler: 'org/plan',
    input: OrgPlanRequest,
    run: async ({ input: { orgId, ...plan }, caller }) => ({
      body: { orgId, ...(await context.service.setPlan(caller, orgId, plan)) },
    }),
  })
}

function usageRoute(context: ApiContext): Route {
  return orgRoute(context, ['viewer', 'stop', 'operator', 'admin', 'full'], {
    method: 'get',
    path: PATHS.usage,
    handler: 'usage',
    input: z.object({}),
    run: async ({ orgId }) => {
      const { org, revoked } = await context.service.usage(orgId)
      const { epoch, by, reason, atMs } = org.orgSwitch
      const since = atMs === null ? null : new Date(atMs).toISOString()
      return {
        body: {
          orgId,
          orgEpoch: org.epoch,
          ...planFields(org),
          revoked,
          org: { disabled: org.disabled, epoch, by, reason, since },
        },
      }
    },
  })
}

function switchRoutes(context: ApiContext): Route[] {
  return [
    orgRoute(context, ['stop', 'operator', 'admin', 'full'], {
      method: 'post',
      path: PATHS.orgDisable,
      handler: 'org/disable',
      input: OrgDisableRequest,
      run: async ({ input, caller, orgId }) => ({
        body: { ...(await context.service.disableOrg(caller, orgId, input.reason)) },
      }),
    }),
    orgRoute(context, ['admin', 'full'], {
      method: 'post',
      path: PATHS.orgEnable,
      handler: 'org/enable',
      input: OrgEnableRequest,
      run: async ({ input, caller, orgId }) => ({
        body: { ...(await context.service.enableOrg(caller, orgId, input)) },
      }),
    }),
  ]
}
