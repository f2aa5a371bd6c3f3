import { everyUnref, type Every } from '../agents/hosted/lease.ts'
import type { RunStore } from '../agents/hosted/run-store.ts'
import {
  watchedRun,
  type RunWatcher,
  type WatchedRun,
  type WatchedStep,
} from '../agents/hosted/run-watcher.ts'
import { messageOf } from '../errors.ts'
import { jittered } from '../jitter.ts'
import type { Logger } from '../log.ts'
import { REPORT_FRAME_BYTES, type RunReport, type RunReports } from '../machineid/run-reports.ts'
import { MAX_RUN_REPORT_BODY_BYTES } from '../machineid/wire-runs.ts'
import { createOutage } from '../outage.ts'
import {
  reportedEffect,
  reportedRun,
  reportedStep,
  type ReportedRun,
  type ReportedStep,
} from './run-report-rows.ts'

export const REPORT_EVERY_MS = 1_000
export const UNKNOWN_EVERY_MS = 10_000
/** What has not changed is told again that often: the control plane may have refused, lost or forgotten it. */
export const UNKNOWN_AGAIN_MS = 300_000
const MAX_RUNS = 100
const MAX_STEPS = 500
const MAX_EFFECTS = 100
const MAX_BYTES = MAX_RUN_REPORT_BODY_BYTES - REPORT_FRAME_BYTES
/** Beyond these the oldest are dropped. */
const MAX_WAITING_RUNS = 1_000
const MAX_WAITING_STEPS = 5_000
const MAX_NUMBERED_RUNS = 10_000
const RETRY_MS = { min: 1_000, max: 60_000 }
/** Nobody waits longer for word from a process that ends. */
const CLOSE_TIMEOUT_MS = 1_000

export interface RunReporterOptions {
  readonly reports: RunReports
  readonly store: RunStore
  readonly log: Logger
  /** For tests. Default: timers that keep no process alive. */
  readonly every?: Every | undefined
  /** In milliseconds, of a clock that only goes forward. Default `performance.now`. */
  readonly nowMs?: (() => number) | undefined
}

/** Tells the control plane of the runs of this process, for people to see. Best effort: no run waits for it. */
export interface RunReporter extends RunWatcher {
  /** Tells of the newest runs as they are now, and from then on of what happens. */
  begin(): void
  /** What waits, once more. Resolves after 1 s and the call that is under way, at the latest. */
  close(): Promise<void>
}

export function createRunReporter(options: RunReporterOptions): RunReporter {
  const { reports, store, log, every = everyUnref, nowMs = () => performance.now() } = options
  /** As each was told of last. */
  const runs = new Map<string, ReportedRun>()
  const numbers = new Map<string, number>()
  const stops: (() => void)[] = []
  let steps: ReportedStep[] = []
  let unknown: RunReport['unknownEffects']
  const outage = createOutage(log, 'effects with unknown outcomes cannot be listed for the control plane')
  let unknownTold = { text: '', atMs: -Infinity }
  let sending: Promise<void> | undefined
  let failures = 0
  let notBeforeMs = -Infinity
  let dropped = 0

  function runChanged(run: WatchedRun): void {
    const { runId } = run
    // Behind those that changed before it.
    runs.delete(runId)
    runs.set(runId, reportedRun(run))
    if (!GOES_ON.has(run.status)) numbers.delete(runId)
    dropped += trim(runs, MAX_WAITING_RUNS)
  }

  function stepsStored(stored: readonly WatchedStep[]): void {
    for (const step of stored) {
      const seq = numbers.get(step.runId) ?? 0
      numbers.set(step.runId, seq + 1)
      steps.push(reportedStep(step, seq))
    }
    trim(numbers, MAX_NUMBERED_RUNS)
    dropped += steps.splice(0, Math.max(0, steps.length - MAX_WAITING_STEPS)).length
  }

  function next(): { readonly report: RunReport; readonly runIds: readonly string[] } | undefined {
    if (unknown !== undefined) return { report: { runs: [], steps: [], unknownEffects: unknown }, runIds: [] }
    const budget = { bytes: MAX_BYTES }
    const told = within(budget, [...runs].slice(0, MAX_RUNS))
    const runIds = told.map(([runId]) => runId)
    const report = { runs: told.map(([, run]) => run), steps: within(budget, steps.slice(0, MAX_STEPS)) }
    return told.length + report.steps.length === 0 ? undefined : { report, runIds }
  }

  /** Until everything is told, one report was not, or there is no time for another. */
  async function send(timeLeftMs?: () => number): Promise<void> {
    for (let batch = next(); batch !== undefined; batch = next()) {
      const timeoutMs = timeLeftMs?.()
      if (timeoutMs !== undefined && timeoutMs <= 0) return
      const { report, runIds } = batch
      const result = await reports.report(report, { timeoutMs })
      if (!result.ok) failed(result.code)
      // What the control plane itself refuses it would refuse again.
      if (!result.ok && !result.answered) return
      if (result.ok) succeeded()
      else dropped += report.runs.length + report.steps.length
      forget(report, runIds)
    }
  }

  /** A run that has changed meanwhile is told of again. */
  function forget(report: RunReport, runIds: readonly string[]): void {
    if (report.unknownEffects !== undefined && report.unknownEffects === unknown) unknown = undefined
    report.runs.forEach((run, at) => {
      const runId = runIds[at] as string
      if (runs.get(runId) === run) runs.delete(runId)
    })
    const gone = new Set(report.steps)
    steps = steps.filter((step) => !gone.has(step))
  }

  function failed(code: string): void {
    failures += 1
    notBeforeMs = nowMs() + jittered(Math.min(RETRY_MS.min * 2 ** (failures - 1), RETRY_MS.max))
    if (failures === 1)
      log.warn({ code }, 'the control plane cannot be told of runs; what happens in them waits here')
  }

  function succeeded(): void {
    notBeforeMs = -Infinity
    if (failures > 0) log.info('the control plane is told of runs again')
    failures = 0
    if (dropped > 0)
      log.warn({ dropped }, 'the control plane was not told of some runs and steps: too many waited')
    dropped = 0
  }

  function flush(): void {
    if (sending !== undefined || nowMs() < notBeforeMs) return
    sending = send().finally(() => {
      sending = undefined
    })
  }

  async function lookForUnknown(): Promise<void> {
    try {
      const all = await store.journal.listUnknown()
      outage.worked()
      const rows = all.slice(0, MAX_EFFECTS).map(reportedEffect)
      const effects = within({ bytes: MAX_BYTES }, rows)
      const text = JSON.stringify(effects)
      if (text === unknownTold.text && nowMs() - unknownTold.atMs < UNKNOWN_AGAIN_MS) return
      unknownTold = { text, atMs: nowMs() }
      unknown = effects
    } catch (cause) {
      outage.failed(cause)
    }
  }

  async function tellOfNewest(): Promise<void> {
    try {
      const newest = await store.list({ limit: MAX_RUNS })
      for (const run of newest.toReversed()) if (!runs.has(run.runId)) runChanged(watchedRun(run))
    } catch (cause) {
      log.warn({ err: messageOf(cause) }, 'runs cannot be listed for the control plane')
    }
  }

  return {
    runChanged,
    stepsStored,
    begin: () => {
      if (stops.length > 0) return
      stops.push(
        every(REPORT_EVERY_MS, flush),
        every(UNKNOWN_EVERY_MS, () => void lookForUnknown()),
      )
      void Promise.all([tellOfNewest(), lookForUnknown()]).then(flush)
    },
    close: async () => {
      for (const stop of stops) stop()
      await sending
      const untilMs = performance.now() + CLOSE_TIMEOUT_MS
      await send(() => untilMs - performance.now())
      const lost = dropped + runs.size + steps.length
      if (lost > 0) log.warn({ dropped: lost }, 'the control plane was not told of some runs and steps')
    },
  }
}

const GOES_ON = new Set<string>(['queued', 'running', 'interrupted'])

/** As many as fit, from the first on. */
function within<T>(budget: { bytes: number }, items: readonly T[]): T[] {
  const end = items.findIndex((item) => {
    budget.bytes -= Buffer.byteLength(JSON.stringify(item)) + 1
    return budget.bytes < 0
  })
  return end < 0 ? [...items] : items.slice(0, end)
}

/** Drops the oldest entries. Gives how many. */
function trim(map: Map<string, unknown>, most: number): number {
  let count = 0
  for (const key of map.keys()) {
    if (map.size <= most) break
    map.delete(key)
    count += 1
  }
  return count
}
