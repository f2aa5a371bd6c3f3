import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Logger } from '../log.ts'
import { createOutage } from '../outage.ts'
import type { Chores } from './nodes/node-store.ts'
import { HEARD_MS } from './runs/run-report-service.ts'
import type { ControlPlaneService } from './service.ts'
import type { ControlPlaneStore, OverdueStop } from './store.ts'

const EVERY_MS = 1000
/** Rounds. */
const CLOSE_STREAMS_EVERY = 5
const PRUNE_AT_ONCE = 2000
const PRUNE_SLICES = 20
const MS_PER_DAY = 86_400_000

export interface Housekeeping {
  /** Once each second from now on. */
  start(): void
  /** What is due by now. Never rejects. */
  tick(): Promise<void>
  close(): Promise<void>
}

/**
 * How long a recovery link is kept that works no more. Where nodes share a store it goes at once: the one that made it may
 * have ended before it could write down that its time had passed, and no clock may bring it back.
 */
const DEAD_LINKS_MS = MS_PER_DAY
/** How long an approval is kept after its decision, withdrawal or expiry. Decisions stay in the audit. */
const ENDED_APPROVALS_MS = 7 * MS_PER_DAY
/** Each can have thousands of steps. */
const PRUNE_RUNS_AT_ONCE = 100
/** How long a session is kept that has ended. Its beginning and end stay in the audit. */
const DEAD_SESSIONS_MS = MS_PER_DAY
/**
 * How long replicas and what they made of stops are kept after their last sign of life. No less: a stop that a silent
 * replica left unconfirmed must not look confirmed because it was forgotten.
 */
const STOP_EVIDENCE_MS = 30 * MS_PER_DAY

/**
 * What time brings about by itself: plans and overlaps end, reminders fall due, old decisions, links and evidence go. No stop ever
 * ends.
 */
export function createHousekeeping(options: {
  readonly store: ControlPlaneStore
  readonly service: ControlPlaneService
  readonly log: Logger
  /** How long decisions are kept, in days. */
  readonly retentionDays: number
  readonly onOverdue: (stop: OverdueStop) => void
  /** Told when something failed, and each second after the store did. */
  readonly onFailed: () => void
}): Housekeeping {
  const { store, service, log, retentionDays, onOverdue, onFailed } = options
  const chores: Chores | undefined = store.shared
  const outage = createOutage(log, 'housekeeping failed')
  let rounds = 0
  let timer: NodeJS.Timeout | undefined
  let running = Promise.resolve()
  let remindedUntilMs = 0

  /** Each node tells its own feed, and one of them the log, from where the one before it ended. */
  const remind = async (loggedUntilMs: number | undefined) => {
    const nowMs = service.nowMs()
    const toldUntilMs = remindedUntilMs
    const due = await store.stopsOverdue(Math.min(toldUntilMs, loggedUntilMs ?? Infinity), nowMs)
    // A clock that was set back must not tell them all again.
    remindedUntilMs = Math.max(toldUntilMs, nowMs)
    for (const stop of due) {
      if (loggedUntilMs !== undefined && stop.remindAtMs > loggedUntilMs)
        log.warn(lineOf(stop), 'a stop is overdue: restore it, or set a new reminder')
      if (stop.remindAtMs > toldUntilMs) onOverdue(stop)
    }
    if (loggedUntilMs !== undefined && due.length > 0) await chores?.noteReminded(nowMs)
  }
  /** As fast as denials may come, in slices that no stop waits long for. */
  const prune = async (beforeMs: number) => {
    for (let slices = 0; slices < PRUNE_SLICES; slices++) {
      if ((await store.pruneDecisions(beforeMs, PRUNE_AT_ONCE)) < PRUNE_AT_ONCE) return
      await nextTurn()
    }
  }
  const run = async () => {
    if (store.problem() !== undefined) return onFailed()
    try {
      // Of several nodes one does it. It is right, only dear, when two do it at the same time.
      const taken = chores === undefined ? { remindedUntilMs } : await chores.takeChores()
      await remind(taken?.remindedUntilMs)
      if (taken === undefined) return outage.worked()
      if (chores !== undefined && ++rounds % CLOSE_STREAMS_EVERY === 0) await store.closeStreams('gone')
      await service.endPlans()
      await service.endKeys()
      await service.endIdleSessions()
      await prune(service.nowMs() - retentionDays * MS_PER_DAY)
      await store.pruneLinks(service.nowMs() - (chores === undefined ? DEAD_LINKS_MS : 0), PRUNE_AT_ONCE)
      await store.pruneSessions(service.nowMs() - DEAD_SESSIONS_MS, PRUNE_AT_ONCE)
      await store.expireApprovals(service.nowMs(), PRUNE_AT_ONCE)
      await store.pruneApprovals(service.nowMs() - ENDED_APPROVALS_MS, PRUNE_AT_ONCE)
      await store.pruneRunReports(
        {
          runsBeforeMs: service.nowMs() - retentionDays * MS_PER_DAY,
          heardBeforeMs: service.nowMs() - HEARD_MS,
        },
        PRUNE_RUNS_AT_ONCE,
      )
      await store.pruneStopEvidence(service.nowMs() - STOP_EVIDENCE_MS, PRUNE_AT_ONCE)
      await chores?.pruneNodes(PRUNE_AT_ONCE)
      outage.worked()
    } catch (error) {
      outage.failed(error)
      onFailed()
    }
  }
  const tick = () => (running = running.then(run))

  return {
    start: () => {
      timer ??= setInterval(() => void tick(), EVERY_MS).unref()
      void tick()
    },
    tick,
    close: async () => {
      clearInterval(timer)
      await running
      // Another node need not wait. If it cannot be told, it finds out by itself.
      await chores?.leaveChores().catch(() => {})
    },
  }
}

function lineOf({ orgId, deviceId, lock, reason, epoch, remindAtMs }: OverdueStop) {
  return {
    org_id: orgId,
    ...(deviceId !== undefined && { device_id: deviceId }),
    ...(lock !== undefined && { pattern: lock.pattern, lock_id: lock.lockId }),
    reason,
    epoch,
    remind_at: new Date(remindAtMs).toISOString(),
  }
}
