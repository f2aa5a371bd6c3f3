import { setTimeout as sleep } from 'node:timers/promises'
import { HoldpointError, messageOf } from '../errors.ts'
import { exit } from '../exit.ts'
import type { Guard } from '../guard/guard.ts'
import { refusalOf } from '../guard/refusal.ts'
import { guardFromEnv, type StartGuardOptions } from '../start-guard.ts'
import { StartupDenied } from '../startup-denied.ts'
import { exitDenied, RETRY_MS, waitToAskAgain } from './denial.ts'
import { watchLife, type ProcessLife } from './end-signal.ts'
import { closeGuard, closeWell, GRACE_MS, setGuardEnd } from './guard-end.ts'
import { assertGraceMs, assertPolicy, assertRetryMs } from './options.ts'

/** What `startupGate` takes, beside what `startGuard` does. */
export interface StartupGateOptions extends StartGuardOptions {
  /**
   * `exit`, the default: writes the log and exits with status 1. `throw`: rejects with `StartupDenied`. `wait`: asks again
   * every `retryMs`.
   */
  readonly onDenied?: 'exit' | 'throw' | 'wait' | undefined
  /** With `wait`: how long until it is asked again, in milliseconds: at least half of it, at most all. Default 5,000. */
  readonly retryMs?: number | undefined
  /**
   * How long running work may take to end, in milliseconds: together with `main` after SIGTERM or SIGINT, and beside the
   * gate that was denied where that exits. Default 10,000. What it cuts off, alerts and the log take some seconds more.
   */
  readonly graceMs?: number | undefined
}

/**
 * A process that registers, validates, and only then calls `main`, with a started guard that is closed when `main` has
 * ended: what goes on by itself needs a `main` that awaits `life.untilShutdown()`. SIGTERM and SIGINT end it: running work
 * is signalled and settles, `main` ends, and the process exits with `process.exitCode`, by default 0; with 1 when `main`
 * threw, something did not end within `graceMs`, or nothing had been allowed to start. A second signal ends it at once.
 * Settles as `main` does. Settings that cannot work are told on standard error, with status 1; with `throw` they are
 * thrown, as `startGuard` does.
 */
export async function startupGate<Result>(
  main: (guard: Guard, life: ProcessLife) => Result | Promise<Result>,
  options: StartupGateOptions = {},
): Promise<Result> {
  const { onDenied = 'exit', retryMs = RETRY_MS, graceMs = GRACE_MS, ...guardOptions } = options
  assertPolicy(onDenied, ['exit', 'throw', 'wait'], 'startupGate')
  assertRetryMs(retryMs, 'startupGate')
  assertGraceMs(graceMs, 'startupGate')
  const guard = buildGuard(guardOptions, onDenied)
  setGuardEnd(guard, { graceMs, alerts: options.alerts })
  const life = watchLife(guard.log)
  try {
    await startup(guard, life, { onDenied, retryMs })
    const ending = (async () => main(guard, life))()
    void life.ended.then(() => shutDown(guard, ending, graceMs))
    const result = await ending
    if (guard.inFlight > 0 && !life.signal.aborted)
      guard.log.warn({ gate: 'startup', in_flight: guard.inFlight }, ENDED_EARLY)
    return result
  } finally {
    await closeGuard(guard, 'startup')
    life.done()
  }
}

/** A user's mistake is told in its message: a stack says nothing about it. */
function buildGuard(options: StartGuardOptions, onDenied: StartupGateOptions['onDenied']): Guard {
  try {
    return guardFromEnv(options)
  } catch (error) {
    if (onDenied === 'throw' || !(error instanceof HoldpointError)) throw error
    process.stderr.write(`${error.message} (${error.code})\n`)
    process.exit(1)
  }
}

const ENDED_EARLY =
  'main has ended while work was running, which is stopped now: main must await loop.run(), or life.untilShutdown()'

/** Returns once `main` may start. */
async function startup(
  guard: Guard,
  { signal }: ProcessLife,
  { onDenied, retryMs }: { readonly onDenied: 'exit' | 'throw' | 'wait'; readonly retryMs: number },
): Promise<void> {
  for (;;) {
    const decision = await guard.start()
    if (decision.allowed) return signal.aborted ? exitUnstarted(guard) : undefined
    const denied = new StartupDenied(decision)
    if (onDenied === 'throw') throw denied
    guard.log.warn({ gate: 'startup', code: decision.code }, denied.message)
    if (onDenied === 'wait' && (await waitToAskAgain(retryMs, signal))) continue
    return exitDenied(guard, 'startup', refusalOf(decision))
  }
}

/** Ended in the very moment in which it was allowed: whoever waits for its work must not take it for done. */
async function exitUnstarted(guard: Guard): Promise<never> {
  await closeWell(guard, 'startup')
  exit(guard.log, 1)
  return new Promise<never>(() => {})
}

/** The process ends here, when what it does has ended: all of it within the same `graceMs`. */
async function shutDown(guard: Guard, main: Promise<unknown>, graceMs: number): Promise<void> {
  const endsAtMs = performance.now() + graceMs
  const hasEnded = main.then(
    () => true,
    (thrown: unknown) => {
      guard.log.error({ gate: 'startup', err: messageOf(thrown) }, 'main threw')
      return false
    },
  )
  const allEnded = await closeWell(guard, 'startup')
  const tooLate = sleep(Math.max(0, endsAtMs - performance.now()))
  const mainEnded = await Promise.race([hasEnded, tooLate])
  if (mainEnded === undefined)
    guard.log.error({ gate: 'startup', grace_ms: graceMs }, 'main did not end in time, exiting')
  exit(guard.log, allEnded && mainEnded === true ? Number(process.exitCode ?? 0) : 1)
}
