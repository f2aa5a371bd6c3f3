import { z } from 'zod'

import { OwnersRequest, OwnersResponse } from '../machineid/wire-orgs.ts'
import { PATHS } from '../machineid/paths.ts'
import { orgRoute, type ApiContext, type Route } from './api-route.ts'
import { MAY_MANAGE } from './key-kinds.ts'

/** Whom recovery mails to. */
export function ownerRoutes(context: ApiContext): Route[] {
  const { recovery, service } = context
  return [
    orgRoute(context, MAY_MANAGE, {
      method: 'get',
      path: PATHS.orgOwners,
      handler: 'org/owners',
      summary: 'Lists the addresses that recovery mails to',
      input: z.object({}),
      output: OwnersResponse,
      run: async ({ orgId }) => ({ body: { orgId, owners: await service.listOwners(orgId) } }),
    }),
    orgRoute(context, MAY_MANAGE, {
      method: 'post',
      path: PATHS.orgOwners,
      handler: 'org/owners',
      summary: 'Adds and removes owners; each of them, old and new, is told by mail',
      input: OwnersRequest,
      output: OwnersResponse,
      refusals: ['LAST_OWNER', 'TOO_MANY_OWNERS'],
      run: async ({ input, caller, orgId }) => {
        const { owners } = await recovery.changeOwners(caller, orgId, input)
        return { body: { orgId, owners } }
      },
    }),
  ]
}
