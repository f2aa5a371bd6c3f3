import type { Guard } from '../../guard/guard.ts'
import type { Logger } from '../../log.ts'
import type { ApprovalDesk } from './approval-desk.ts'
import { ABANDON_AFTER_MS } from './abandon-run.ts'
import { endAll } from './end-all.ts'
import { cancelRun } from './cancel-run.ts'
import { decideRun } from './decide-run.ts'
import { newDeskState } from './desk.ts'
import { createDeskWatch } from './desk-watch.ts'
import type { Execution } from './execution.ts'
import type { Host } from './host.ts'
import { hostAgents, type HostedAgent } from './hosted-agent.ts'
import { everyUnref, type Every } from './lease.ts'
import { followRun, listRuns, showRun, waitingApprovals } from './look-at-runs.ts'
import { createQueue } from './queue.ts'
import { resumeRun } from './resume-run.ts'
import type { RunStore } from './run-store.ts'
import type { Runs } from './run-types.ts'
import type { RunWatcher } from './run-watcher.ts'
import { createStateSeal } from './sealed-state.ts'
import { reconcileEffect, requireOneJournal, settleEffect, unknownEffects } from './settle-effects.ts'
import { startRun } from './start-run.ts'

/** What hosted runs are made of. */
export interface RunsOptions {
  /** Whom they ask, before a model call, a tool, an effect, a resume. */
  readonly guard: Guard
  /** Shares its database with the guard's journal: `createSqliteToolStore`. */
  readonly store: RunStore
  /** The agents that can be run. */
  readonly agents: readonly HostedAgent[]
  /** 32 bytes each. The first seals what is stored, all of them open it. */
  readonly stateKeys: readonly Buffer[]
  /** More guarded tools whose unknown outcomes can be reconciled here: those that are called without an agent. */
  readonly tools?: readonly unknown[] | undefined
  /** Another place where people decide. What was decided there is resumed by itself. Default: only this one. */
  readonly desk?: ApprovalDesk | undefined
  /** Told of every run here as it goes on. Default: nobody. */
  readonly watcher?: RunWatcher | undefined
  /** How long an approval can be given and used, in milliseconds. Default 15 minutes. */
  readonly approvalTtlMs?: number | undefined
  /** Runs at work at once. More wait when they may, and are refused `RUNS_OVERLOADED` otherwise. Default 64. */
  readonly maxConcurrentRuns?: number | undefined
  /** Default: the guard's. */
  readonly log?: Logger | undefined
  /** The store's clock. Default `Date.now`. */
  readonly nowMs?: (() => number) | undefined
  /** For tests. Default: timers that keep no process alive. */
  readonly every?: Every | undefined
}

const APPROVAL_TTL_MS = 15 * 60 * 1000
const MAX_CONCURRENT_RUNS = 64

/**
 * Hosts runs of these agents: they pause for approval, are stored sealed, and go on here or on another replica. Starts
 * nothing by itself: see `begin`. Throws `GUARD_MISCONFIGURED`.
 */
export function createRuns(options: RunsOptions): Runs {
  const { guard, store, agents, desk, watcher, tools = [] } = options
  requireOneJournal(guard.journal, store.journal)
  const host: Host = {
    guard,
    store,
    seal: createStateSeal(options.stateKeys),
    agents: hostAgents(guard, agents),
    tools,
    desk,
    deskState: newDeskState(),
    watcher,
    approvalTtlMs: options.approvalTtlMs ?? APPROVAL_TTL_MS,
    maxConcurrentRuns: options.maxConcurrentRuns ?? MAX_CONCURRENT_RUNS,
    log: options.log ?? guard.log,
    nowMs: options.nowMs ?? Date.now,
    every: options.every ?? everyUnref,
    executions: new Set<Execution>(),
    onBegin: new Set(),
    closing: false,
  }
  const queue = createQueue(host)
  const deskWatch = desk === undefined ? undefined : createDeskWatch(host)
  return {
    start: (who, request) => startRun(host, who, request, queue.nudge),
    resume: (who, request) => resumeRun(host, who, request),
    decide: (who, runId, decisions) => decideRun(host, who, runId, decisions),
    cancel: (who, runId, reason) => cancelRun(host, who, runId, reason),
    show: (who, runId) => showRun(host, who, runId),
    list: (who, filter) => listRuns(host, who, filter),
    waiting: (who, limit) => waitingApprovals(host, who, limit),
    follow: (who, runId, onStep, signal) => followRun(host, who, runId, onStep, signal),
    unknownEffects: (who) => unknownEffects(host, who),
    settleEffect: (who, effectId, word) => settleEffect(host, who, effectId, word),
    reconcileEffect: (who, effectId) => reconcileEffect(host, who, effectId),
    counts: () => store.counts(),
    begin: () => {
      queue.begin()
      deskWatch?.begin()
    },
    close: async ({ graceMs = ABANDON_AFTER_MS } = {}) => {
      host.closing = true
      await queue.end()
      await deskWatch?.end()
      await endAll(host, graceMs)
    },
  }
}
