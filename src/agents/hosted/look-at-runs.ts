import { executionOf, requireApprover, visibleRun, type Host } from './host.ts'
import { sweep } from './queue.ts'
import type { RunRecord } from './run-store.ts'
import {
  LIST_DEFAULT,
  LIST_MOST,
  RunRefused,
  type OnStep,
  type RunCaller,
  type RunDetail,
  type RunListFilter,
  type RunView,
  type WaitingApproval,
} from './run-types.ts'
import type { Execution } from './execution.ts'
import { approvalView, effectView, isoTime, viewOf } from './views.ts'

const OPERATOR_LINES = 200
const LOOK_EVERY_MS = 1_000

/** A run whose process died must not look as if it were running. */
async function current(host: Host, who: RunCaller, runId: string): Promise<RunRecord> {
  const run = await visibleRun(host, who, runId)
  if (run.status !== 'running' || executionOf(host, runId) !== undefined) return run
  return (await sweep(host)).includes(runId) ? visibleRun(host, who, runId) : run
}

export async function showRun(host: Host, who: RunCaller, runId: string): Promise<RunDetail> {
  const run = await current(host, who, runId)
  const { store } = host
  const { caller } = run
  const [approvals, effects, steps, operatorLog] = await Promise.all([
    store.approvalsOf(runId),
    store.journal.listRun({ caller, runId }),
    store.stepsOf(runId),
    store.operatorLog({ runId, limit: OPERATOR_LINES }),
  ])
  return {
    ...(await viewOf(host, run, approvals)),
    effects: effects.map(effectView),
    allApprovals: approvals.map((approval) => approvalView(host, approval)),
    steps: steps.map(({ atMs, type, detail }) => ({ ...detail, at: isoTime(atMs), type })),
    operatorLog,
  }
}

export async function listRuns(
  host: Host,
  who: RunCaller,
  { limit = LIST_DEFAULT, ...filter }: RunListFilter,
): Promise<readonly RunView[]> {
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= LIST_MOST))
    throw new RunRefused('BAD_INPUT', `limit must be 1 to ${LIST_MOST}.`)
  const wanted = { ...filter, limit, caller: who.mayApprove ? undefined : who.id }
  let runs = await host.store.list(wanted)
  const mayBeLost = runs.some(
    ({ status, runId }) => status === 'running' && executionOf(host, runId) === undefined,
  )
  if (mayBeLost && (await sweep(host)).length > 0) runs = await host.store.list(wanted)
  return Promise.all(runs.map((run) => viewOf(host, run)))
}

/** What a person has to decide, the first to expire first. */
export async function waitingApprovals(
  host: Host,
  who: RunCaller,
  limit: number,
): Promise<readonly WaitingApproval[]> {
  requireApprover(who)
  const waiting = await host.store.waitingApprovals(limit)
  return waiting.map((approval) => {
    const { runId, agent, caller } = approval
    return { runId, agent, caller, ...approvalView(host, approval) }
  })
}

/** Tells of steps until the run pauses or ends, here or, as far as the store shows it, elsewhere. */
export async function followRun(
  host: Host,
  who: RunCaller,
  runId: string,
  onStep: OnStep,
  signal: AbortSignal,
): Promise<RunView> {
  const run = await current(host, who, runId)
  if (run.status !== 'running' && run.status !== 'queued') return viewOf(host, run)
  const ended = Promise.withResolvers<undefined>()
  const finish = () => ended.resolve(undefined)
  const leave: (() => void)[] = []
  const follow = (execution: Execution) => {
    if (execution.runId !== runId) return
    leave.push(execution.steps.listen(onStep))
    // A pick that was denied leaves it queued.
    execution.done.then(({ status }) => (status === 'queued' ? undefined : finish()), finish)
  }
  const live = executionOf(host, runId)
  if (live !== undefined) follow(live)
  host.onBegin.add(follow)
  const look = async () => {
    const status = await host.store.statusOf(runId)
    if (status !== 'running' && status !== 'queued') finish()
  }
  leave.push(host.every(LOOK_EVERY_MS, () => void look().catch(finish)))
  signal.addEventListener('abort', finish)
  if (signal.aborted) finish()
  await ended.promise
  host.onBegin.delete(follow)
  signal.removeEventListener('abort', finish)
  for (const end of leave) end()
  return viewOf(host, await visibleRun(host, who, runId))
}
