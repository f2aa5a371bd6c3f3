import type { Guard } from '../../guard/guard.ts'
import type { Logger } from '../../log.ts'
import type { ApprovalDesk } from './approval-desk.ts'
import type { DeskState } from './desk.ts'
import type { Execution } from './execution.ts'
import type { HostedAgent } from './hosted-agent.ts'
import type { Every } from './lease.ts'
import type { RunRecord, RunStore } from './run-store.ts'
import { RunRefused, type RunCaller } from './run-types.ts'
import type { RunWatcher } from './run-watcher.ts'
import type { StateSeal } from './sealed-state.ts'

/** What the parts of the runs service share. */
export interface Host {
  readonly guard: Guard
  readonly store: RunStore
  readonly seal: StateSeal
  /** By the name that callers use. */
  readonly agents: ReadonlyMap<string, HostedAgent>
  readonly tools: readonly unknown[]
  readonly desk: ApprovalDesk | undefined
  readonly deskState: DeskState
  readonly watcher: RunWatcher | undefined
  readonly approvalTtlMs: number
  readonly maxConcurrentRuns: number
  readonly log: Logger
  /** The store's clock. */
  readonly nowMs: () => number
  readonly every: Every
  /** What runs on this replica. */
  readonly executions: Set<Execution>
  /** Told of each run that begins here. */
  readonly onBegin: Set<(execution: Execution) => void>
  closing: boolean
}

export function executionOf(host: Host, runId: string): Execution | undefined {
  return [...host.executions].findLast((execution) => execution.runId === runId)
}

/** Throws `RUN_NOT_FOUND` also for a run of somebody else: that it exists is none of their business. */
export async function visibleRun(host: Host, who: RunCaller, runId: string): Promise<RunRecord> {
  const run = await host.store.find(runId)
  if (run !== undefined && (who.mayApprove || run.caller === who.id)) {
    // What runs here is not lost, even if the clock has been set.
    await executionOf(host, runId)?.lease.renewIfOld()
    return run
  }
  throw new RunRefused('RUN_NOT_FOUND', `There is no run ${runId} of yours. List them: GET /runs`)
}

export function hostedAgent(host: Host, name: string): HostedAgent {
  const hosted = host.agents.get(name)
  if (hosted !== undefined) return hosted
  const names = [...host.agents.keys()].join(', ') || 'none'
  throw new RunRefused('AGENT_NOT_FOUND', `There is no agent "${name}" here. Agents: ${names}.`)
}

export function requireApprover(who: RunCaller): void {
  if (who.mayApprove) return
  throw new RunRefused(
    'APPROVER_REQUIRED',
    'Deciding and settling needs a token with the scope runs:approve, which is for people, not for agents.',
  )
}

/** Throws when this replica takes no more runs. */
export function requireRoom(host: Host): void {
  if (host.closing) throw new RunRefused('RUNS_CLOSING', 'This server is shutting down. Try another replica.')
  if (host.executions.size < host.maxConcurrentRuns) return
  throw new RunRefused(
    'RUNS_OVERLOADED',
    `${host.executions.size} runs are going on here, which is the limit. Try later, or start it in the background.`,
  )
}
