import type { z } from 'zod'

import { messageOf } from '../../errors.ts'
import type { DrillStep } from '../../machineid/wire-drills.ts'
import { CliError } from '../cli-error.ts'
import { EXIT } from '../cli.ts'
import { count } from '../plural.ts'
import { measureStop, type StopMeasured } from './measure.ts'
import type { EndedCall } from './plot.ts'
import type { Stage } from './stage.ts'
import { judgeWorks } from './started.ts'
import type { DrillStop } from './stops.ts'
import type { Traffic } from './traffic.ts'
import type { Stopped } from './undo.ts'

export type Step = z.infer<typeof DrillStep>
export type StepName = Step['name']

/** What the steps work with. */
export interface Scene {
  readonly stage: Stage
  readonly traffic: Traffic
  readonly stopped: Stopped
  /** How long is measured after an ack, and how long calls are made before the next stop. */
  readonly forMs: number
  readonly warmMs: number
  /** Monotonic. */
  readonly nowMs: () => number
  /** ISO 8601. */
  readonly time: () => string
  readonly signal: AbortSignal
  readonly onBegin: (name: StepName) => void
  readonly onStep: (step: Step) => void
}

/** What was done so far. */
export interface Done {
  readonly steps: Step[]
  readonly ended: EndedCall[]
  /** What somebody else has stopped meanwhile, so that it was not restored. */
  readonly leftStopped: string[]
  /** A stop did not hold. */
  broken: boolean
}

type Result = Omit<Step, 'name' | 'startedAt'>
const NOTHING: Omit<Result, 'held' | 'note'> = { epoch: null, ackMs: null, measures: [] }
const LOOK_EVERY_MS = 20
/** On top of `warmMs`, for every cell to have had an answer. */
const PATIENCE_MS = 10_000
const MAX_NOTE = 500

/** One step of the report, whatever becomes of it. */
async function step(scene: Scene, done: Done, name: StepName, work: () => Promise<Result>): Promise<Step> {
  const startedAt = scene.time()
  scene.onBegin(name)
  const add = (result: Result) => {
    const made = { name, startedAt, ...result, note: result.note.slice(0, MAX_NOTE) }
    done.steps.push(made)
    scene.onStep(made)
    return made
  }
  try {
    return add(await work())
  } catch (error) {
    add({ ...NOTHING, held: false, note: messageOf(error) })
    throw error
  }
}

/** Everything must start before anything is stopped. Throws `CliError` when it does not. */
export async function baseline(scene: Scene, done: Done): Promise<void> {
  const { held, note } = await step(scene, done, 'baseline', async () => ({
    ...NOTHING,
    ...(await works(scene, 'mixed')),
  }))
  if (held) return
  throw new CliError(
    'BASELINE_FAILED',
    `The canary does not work even before anything is stopped, so nothing was stopped. ${note}. ${hint(note)}`,
  )
}

function hint(note: string): string {
  if (note.includes('AUTHORITY_UNAUTHORIZED'))
    return "The tool server's key may not ask about the canary: bind it to …:canary:… too, or use --surface NAME."
  return 'See why: holdpoint doctor'
}

export interface StopSteps {
  readonly names: readonly [stop: StepName, restore: StepName]
  readonly stop: DrillStop
  readonly isOfStop: (code: string) => boolean
  /** Of a cut, which is no stop: calls sent this long after its answer do not count yet, and nothing is ended by it. */
  readonly settleMs?: number
  /** Whether another stop follows, which must find long calls in flight. */
  readonly isLast: boolean
}

/** Stops, measures, restores, and works again. False when that is not what happened: then no other stop is made. */
export async function stopAndRestore(scene: Scene, done: Done, steps: StopSteps): Promise<boolean> {
  const [stopName, restoreName] = steps.names
  const { traffic, stopped } = scene
  const stop = await step(scene, done, stopName, async () => {
    const { epoch, ackMs, ackAtMs } = await stopped.stop(steps.stop)
    await pause(scene, scene.forMs + (steps.settleMs ?? 0))
    traffic.pause()
    // Nothing is restored before every call has ended: what starts later could be told from nothing.
    await until(scene, traffic.drained())
    const measured = measureStop({
      ackAtMs: ackAtMs + (steps.settleMs ?? 0),
      calls: traffic.ended,
      expected: scene.stage.expected,
      isOfStop: steps.isOfStop,
      endsWork: steps.settleMs === undefined,
    })
    done.ended.push(...measured.ended)
    if (measured.violations.length > 0) done.broken = true
    const held = measured.violations.length === 0 && measured.gaps.length === 0
    return { epoch, ackMs: round(ackMs), measures: [...measured.measures], held, note: noteOf(measured) }
  })
  const restore = await step(scene, done, restoreName, async () => {
    const { epoch, ackMs, leftStopped } = await stopped.restore(steps.stop)
    const answered = { ...NOTHING, epoch, ackMs: round(ackMs) }
    if (leftStopped !== undefined) {
      const note = `${leftStopped}. It was left so; to restore it: ${steps.stop.command}`
      done.leftStopped.push(note)
      return { ...answered, held: false, note }
    }
    return { ...answered, ...(await works(scene, steps.isLast ? 'short' : 'mixed')) }
  })
  return stop.held && restore.held
}

function noteOf({ measures, violations, gaps, endedByTime, ended }: StopMeasured): string {
  if (violations.length > 0) return `DID NOT HOLD: ${violations.join('; ')}`
  if (gaps.length > 0) return `Not shown: ${gaps.join('; ')}`
  const sent = measures.reduce((sum, { sentAfterAck }) => sum + sentAfterAck, 0)
  const none = `${count(sent, 'call')} sent after the ack, none started`
  if (ended.length === 0) return none
  const lastMs = Math.max(...ended.map(({ ms }) => ms))
  const byTime = endedByTime === 0 ? '' : ` (${endedByTime} by their own time, not by a pushed stop)`
  return `${none}; ${ended.length} in flight at it, the last ended ${lastMs} ms after it${byTime}`
}

/** Calls from now on, until each cell has had one that ended, and for `warmMs` at least. */
async function works(scene: Scene, kind: 'mixed' | 'short') {
  const { traffic, stage, nowMs } = scene
  const sinceMs = nowMs()
  const judged = () => judgeWorks(stage.cells, traffic.ended, sinceMs)
  traffic.start(kind)
  await pause(scene, scene.warmMs)
  const endMs = sinceMs + scene.warmMs + PATIENCE_MS
  while (nowMs() < endMs && judged().missing) await pause(scene, LOOK_EVERY_MS)
  const { held, note } = judged()
  return { held, note }
}

/** Throws `CliError` `INTERRUPTED` when `signal` is aborted meanwhile. */
async function pause(scene: Scene, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await until(scene, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))).finally(() =>
    clearTimeout(timer),
  )
}

async function until({ signal }: Scene, work: Promise<void>): Promise<void> {
  const interrupted = () => new CliError('INTERRUPTED', 'Interrupted.', EXIT.interrupted)
  if (signal.aborted) throw interrupted()
  let onAbort: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(interrupted())
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    await Promise.race([work, aborted])
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort)
  }
}

function round(ms: number): number {
  return Math.ceil(ms * 10) / 10
}
