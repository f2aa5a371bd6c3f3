import type { Claim, Execution } from './execution.ts'
import type { Host } from './host.ts'
import type { RunView } from './run-types.ts'
import { saveRun } from './save-run.ts'

/** How long a run that was told to end may take. */
export const ABANDON_AFTER_MS = 30_000

/**
 * Ends a run without its tools and its model, which heed nothing: it is saved as cancelled or denied, or goes back (R3). Whatever
 * they still do finds the claim gone: no effect begins, and nothing they give is saved.
 */
export async function abandonRun(host: Host, claim: Claim, execution: Execution): Promise<RunView> {
  const { ending, stoppedBy: denial } = execution
  host.log.error(
    { run_id: claim.run.runId, agent: claim.run.agent, ending: ending ?? denial?.code },
    'a run did not end when it was told to: a tool or the model heeds no signal. It was abandoned',
  )
  const end = { resumable: false, waiting: [] } as const
  if (ending === 'cancelled') return saveRun(host, claim, execution, { ...end, status: 'cancelled' })
  // As with one that has ended: stopped before it asked the model again, it is paused as before.
  if (ending === undefined && denial !== undefined && denial.boundary !== 'resume')
    return saveRun(host, claim, execution, { ...end, status: 'denied', denial })
  return saveRun(host, claim, execution, undefined)
}
