import { showDesk } from './desk.ts'
import { executionOf, visibleRun, type Host } from './host.ts'
import { RunRefused, type RunCaller, type RunView } from './run-types.ts'
import { viewOf } from './views.ts'

/** Ends a run that waits at once, and one that runs here as soon as its tools have ended. */
export async function cancelRun(
  host: Host,
  who: RunCaller,
  runId: string,
  reason: string | undefined,
): Promise<RunView> {
  const run = await visibleRun(host, who, runId)
  const before = await host.store.approvalsOf(runId)
  const answer = await host.store.cancel(runId, who.id, reason)
  if (answer === false) throw new RunRefused('RUN_ENDED', `Run ${runId} has ended: ${run.status}.`)
  const execution = executionOf(host, runId)
  if (answer === 'requested' && execution !== undefined) {
    execution.end('cancelled')
    return execution.done
  }
  await showDesk(host, before, await host.store.approvalsOf(runId))
  return viewOf(host, await visibleRun(host, who, runId))
}
