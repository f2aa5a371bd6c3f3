import { showDesk } from './desk.ts'
import { executionOf, visibleRun, type Host } from './host.ts'
import { RunRefused, type RunCaller, type RunView } from './run-types.ts'
import { tellOfRun } from './run-watcher.ts'
import { viewOf } from './views.ts'

/** A tool that heeds no signal, or an effect that finishes, is not waited for any longer than this. */
const CANCEL_WAIT_MS = 5_000

/** Ends a run that waits at once, and one that runs here as soon as its tools have ended: `cancelling` until then. */
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
    const ended = await within(host, CANCEL_WAIT_MS, execution.done)
    if (ended !== undefined) return ended
  }
  await showDesk(host, before, await host.store.approvalsOf(runId))
  const now = await visibleRun(host, who, runId)
  tellOfRun(host, now)
  return viewOf(host, now)
}

async function within<T>(host: Host, ms: number, promise: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>()
  const stop = host.every(ms, () => late.resolve(undefined))
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    stop()
  }
}
