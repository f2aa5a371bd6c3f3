import { PATHS } from '../../machineid/paths.ts'
import { DrillRunQuery, DrillRunRequest, DrillRunResponse } from '../../machineid/wire-drills.ts'
import { orgRoute, type ApiContext, type Route } from '../api-route.ts'
import { MAY_RESTORE, MAY_SEE } from '../key-kinds.ts'

/** Drills that the control plane itself starts, for whoever has no command line at hand. */
export function drillRunRoutes(context: ApiContext): Route[] {
  const { drillRuns } = context
  return [
    orgRoute(context, MAY_RESTORE, {
      method: 'post',
      path: PATHS.drillRun,
      handler: 'drills/run',
      summary:
        'Starts a drill on the tool servers that the control plane was told of; with "org" it takes an admin key',
      input: DrillRunRequest,
      output: DrillRunResponse,
      refusals: ['DRILLS_NOT_CONFIGURED', 'DRILL_RUNNING'],
      run: async ({ input, caller, orgId }) => ({
        body: { orgId, run: await drillRuns.start(caller, orgId, input) },
      }),
    }),
    orgRoute(context, MAY_SEE, {
      method: 'get',
      path: PATHS.drillRun,
      handler: 'drills/run',
      summary: 'How the drill goes on, or went, that was started here last',
      input: DrillRunQuery,
      output: DrillRunResponse,
      run: async ({ orgId }) => ({ body: { orgId, run: await drillRuns.of(orgId) } }),
    }),
  ]
}
