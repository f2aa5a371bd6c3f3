import { messageOf } from '../../errors.ts'
import { jittered } from '../../jitter.ts'
import { createOutage } from '../../outage.ts'
import { adoptAllVerdicts, DESK_PREFIX, isWaiting, reconcileDesk } from './desk.ts'
import type { Execution } from './execution.ts'
import { executionOf, type Host } from './host.ts'
import { isExpired } from './hosted-session.ts'
import { resumeRun } from './resume-run.ts'
import type { ApprovalRecord, RunRecord } from './run-store.ts'
import { RunRefused, type RunCaller, type RunRefusalCode } from './run-types.ts'
import { needsItsCaller } from './same-context.ts'

/** How often it is looked whether something is due. */
export const DESK_TICK_MS = 500
/** Verdicts are asked for that often; up to `POLL_AT_MOST_MS` while the desk fails. */
const POLL_MS = 2_000
const POLL_AT_MOST_MS = 10_000
const RECONCILE_MS = 10_000
const RETRY_MS = 2_000
const RETRY_AT_MOST_MS = 60_000
/** Paused runs that are looked through at once for those that the desk has decided: the next ones at the next time. */
const MOST_RUNS = 200

/** Who resumes a run that was decided at the desk. */
const DESK: RunCaller = { id: 'desk', mayApprove: true }

export interface DeskWatch {
  /** Asks for verdicts while calls wait, keeps the desk up to date, and resumes what was decided there. */
  readonly begin: () => void
  /** Resumes nothing more. Resolves when nothing of it is under way but runs at work. */
  readonly end: () => Promise<void>
}

interface Attempt {
  /** Of the run. A later one is another pause. */
  readonly version: number
  readonly count: number
  /** Undefined: not again. */
  readonly next: Due | undefined
}

/** An instant of the store's clock, which can be set in either direction. */
interface Due {
  readonly setAtMs: number
  readonly atMs: number
}

/** Stands between the runs and a desk elsewhere: whatever was missed by either is made up for here. */
export function createDeskWatch(host: Host): DeskWatch {
  const attempts = new Map<string, Attempt>()
  const outage = createOutage(host.log, 'what was decided at the approval desk cannot be looked for')
  let stop: (() => void) | undefined
  let looking: Promise<void> | undefined
  let poll: Due = due(0)
  let reconcile: Due = due(0)
  let lookedAtRunId: string | undefined

  function due(inMs: number): Due {
    const setAtMs = host.nowMs()
    return { setAtMs, atMs: setAtMs + inMs }
  }

  function isDue({ setAtMs, atMs }: Due): boolean {
    const nowMs = host.nowMs()
    return nowMs >= atMs || nowMs < setAtMs
  }

  function tick(): void {
    looking ??= look()
      .catch(outage.failed)
      .finally(() => {
        looking = undefined
      })
  }

  async function look(): Promise<void> {
    const isPollDue = isDue(poll)
    const isReconcileDue = isDue(reconcile)
    if (!isPollDue && !isReconcileDue) return
    const { failures } = host.deskState
    poll = due(jittered(Math.min(POLL_MS * 2 ** failures, POLL_AT_MOST_MS)))
    const { waitingApprovals, interrupted } = await host.store.counts()
    if (isReconcileDue) {
      reconcile = due(jittered(RECONCILE_MS))
      if (waitingApprovals > 0 || host.deskState.isBehind) await reconcileDesk(host)
    }
    if (host.closing) return
    const decided = waitingApprovals > 0 ? await adoptAllVerdicts(host) : new Set<string>()
    const again = [...attempts].flatMap(([runId, { next }]) => (next && isDue(next) ? [runId] : []))
    const found = isReconcileDue && interrupted > 0 ? await pausedRuns() : []
    for (const runId of new Set([...decided, ...again, ...found])) await resumeDecided(runId)
    outage.worked()
  }

  /** Whoever stored a verdict may have died before it could resume the run. */
  async function pausedRuns(): Promise<readonly string[]> {
    const page = { status: 'interrupted', limit: MOST_RUNS, beforeRunId: lookedAtRunId } as const
    const runs = await host.store.list(page)
    const paused = new Set(runs.map(({ runId }) => runId))
    if (runs.length < MOST_RUNS && lookedAtRunId === undefined)
      for (const runId of attempts.keys()) if (!paused.has(runId)) attempts.delete(runId)
    lookedAtRunId = runs.length < MOST_RUNS ? undefined : runs.at(-1)?.runId
    return runs.flatMap(({ runId }) => (attempts.has(runId) ? [] : [runId]))
  }

  async function resumeDecided(runId: string): Promise<void> {
    const run = await host.store.find(runId)
    const isReady =
      run?.status === 'interrupted' &&
      executionOf(host, runId) === undefined &&
      (await isDecidedAtDesk(host, runId))
    const hosted = run === undefined ? undefined : host.agents.get(run.agent)
    // An agent that is not hosted here may be on another replica.
    if (run === undefined || !isReady || hosted === undefined || host.closing) {
      attempts.delete(runId)
      return
    }
    const earlier = attempts.get(runId)
    const count = earlier?.version === run.version ? earlier.count + 1 : 1
    if (needsItsCaller(host, hosted, run)) return leaveToCaller(run, count)
    const waitMs = jittered(Math.min(RETRY_MS * 2 ** (count - 1), RETRY_AT_MOST_MS))
    attempts.set(runId, { version: run.version, count, next: due(waitMs) })
    await resume(runId)
  }

  function leaveToCaller({ runId, version }: RunRecord, count: number): void {
    if (count === 1) {
      host.log.info(
        { run_id: runId },
        'a run was decided at the approval desk, and waits for its caller to resume it: its context is not stored',
      )
    }
    attempts.set(runId, { version, count, next: undefined })
  }

  /** Resolves when it is at work, or was not resumed. */
  async function resume(runId: string): Promise<void> {
    const begun = Promise.withResolvers<undefined>()
    const onBegin = (execution: Execution) => {
      if (execution.runId === runId) begun.resolve(undefined)
    }
    host.onBegin.add(onBegin)
    resumeRun(host, DESK, { runId })
      .catch((cause: unknown) => notResumed(runId, cause))
      .finally(() => begun.resolve(undefined))
    await begun.promise
    host.onBegin.delete(onBegin)
  }

  function notResumed(runId: string, cause: unknown): void {
    if (cause instanceof RunRefused && SAID_ELSEWHERE.has(cause.code)) return
    host.log.warn(
      { run_id: runId, err: messageOf(cause) },
      'a run that was decided at the desk was not resumed',
    )
  }

  return {
    begin: () => {
      if (stop !== undefined) return
      stop = host.every(DESK_TICK_MS, tick)
      tick()
    },
    end: async () => {
      stop?.()
      stop = () => {}
      await looking
    },
  }
}

/** Somebody else has it, or the guard has logged why not: it is tried again. */
const SAID_ELSEWHERE = new Set<RunRefusalCode>([
  'RUN_BUSY',
  'RUN_ENDED',
  'RUN_NOT_RESUMABLE',
  'RESUME_DENIED',
  'RUNS_OVERLOADED',
  'RUNS_CLOSING',
])

/**
 * Nothing waits any more, and the desk has decided some of it. Only as long as that counts: a run that nobody could
 * resume for so long is for its caller to look at.
 */
async function isDecidedAtDesk({ store, nowMs }: Host, runId: string): Promise<boolean> {
  const approvals = await store.approvalsOf(runId)
  if (approvals.some(isWaiting)) return false
  const ofDesk = approvals.filter(
    (one) => one.decidedBy?.startsWith(DESK_PREFIX) === true && !isExpired(one, nowMs()),
  )
  if (ofDesk.some(({ state }) => state === 'approved')) return true
  const declined = ofDesk.filter(({ state }) => state === 'declined')
  return declined.length > 0 && (await isOfThisPause(store, runId, declined))
}

/** A decline stays on record after the run has gone on without the call: what it paused for since is another matter. */
async function isOfThisPause(
  store: Host['store'],
  runId: string,
  declined: readonly ApprovalRecord[],
): Promise<boolean> {
  const ids = new Set(declined.map(({ approvalId }) => approvalId))
  const log = await store.operatorLog({ runId, limit: MOST_RUNS })
  const declinedAtMs = log.find(({ subject }) => ids.has(subject))?.atMs ?? -Infinity
  const steps = await store.stepsOf(runId)
  const pausedAt = steps.findLastIndex(({ type }) => type === 'run_ended')
  return !steps.some(({ type, atMs }, at) => type === 'run_resumed' && atMs >= declinedAtMs && at < pausedAt)
}
