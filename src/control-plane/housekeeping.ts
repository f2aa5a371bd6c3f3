import { setImmediate as nextTurn } from 'node:timers/promises'

import { messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { HEARD_MS } from './runs/run-report-service.ts'
import type { ControlPlaneService } from './service.ts'
import type { ControlPlaneStore, OverdueStop } from './store.ts'

const EVERY_MS = 1000
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

/** How long a recovery link is kept that works no more. */
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
  let timer: NodeJS.Timeout | undefined
  let running = Promise.resolve()
  let remindedUntilMs = 0

  const remind = async () => {
    const nowMs = service.nowMs()
    const due = await store.stopsOverdue(remindedUntilMs, nowMs)
    // A clock that was set back must not tell them all again.
    remindedUntilMs = Math.max(remindedUntilMs, nowMs)
    for (const stop of due) {
      log.warn(lineOf(stop), 'a stop is overdue: restore it, or set a new reminder')
      onOverdue(stop)
    }
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
      await service.endPlans()
      await service.endKeys()
      await service.endIdleSessions()
      await remind()
      await prune(service.nowMs() - retentionDays * MS_PER_DAY)
      await store.pruneLinks(service.nowMs() - DEAD_LINKS_MS, PRUNE_AT_ONCE)
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
    } catch (error) {
      log.error({ reason: messageOf(error) }, 'housekeeping failed, trying again in a second')
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
