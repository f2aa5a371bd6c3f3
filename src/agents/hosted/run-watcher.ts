import type { Host } from './host.ts'
import { messageOf } from '../../errors.ts'
import type { RunRecord, RunStatus } from './run-store.ts'

/** A run as a watcher is told of it: nothing that a person or a model wrote. */
export interface WatchedRun {
  readonly runId: string
  readonly agent: string
  /** Who started it. */
  readonly caller: string
  readonly status: RunStatus
  /** Of a denial or failure. */
  readonly code: string | undefined
  readonly createdAtMs: number
  readonly changedAtMs: number
}

/** A step of a timeline, once it is stored. */
export interface WatchedStep {
  readonly runId: string
  readonly atMs: number
  readonly type: string
  /** Without arguments, outputs and messages. */
  readonly detail: Readonly<Record<string, unknown>>
}

/** Told of what happens to runs on this replica, in order. Must return at once: a run does not wait for it. */
export interface RunWatcher {
  /** Its status has changed, or may have. */
  runChanged(run: WatchedRun): void
  stepsStored(steps: readonly WatchedStep[]): void
}

export function watchedRun(run: RunRecord): WatchedRun {
  const { runId, agent, caller, status, denial, problem, createdAtMs, changedAtMs } = run
  return { runId, agent, caller, status, code: problem?.code ?? denial?.code, createdAtMs, changedAtMs }
}

export function tellOfRun(host: Pick<Host, 'watcher' | 'log'>, run: RunRecord): void {
  tellWatcher(host, (watcher) => watcher.runChanged(watchedRun(run)))
}

/** Reads it anew, in the background: for whoever does not know what has become of it. */
export function tellOfRunLater(host: Pick<Host, 'watcher' | 'log' | 'store'>, runId: string): void {
  if (host.watcher === undefined) return
  host.store.find(runId).then(
    (run) => run === undefined || tellOfRun(host, run),
    (cause: unknown) => failed(host, cause),
  )
}

/** A watcher that throws holds nothing up. */
export function tellWatcher(host: Pick<Host, 'watcher' | 'log'>, body: (watcher: RunWatcher) => void): void {
  if (host.watcher === undefined) return
  try {
    body(host.watcher)
  } catch (cause) {
    failed(host, cause)
  }
}

function failed({ log }: Pick<Host, 'log'>, cause: unknown): void {
  log.warn({ err: messageOf(cause) }, 'a watcher of runs could not be told')
}
