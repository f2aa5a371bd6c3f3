import { messageOf } from '../../errors.ts'
import type { DrillReportBody } from '../../machineid/wire-drills.ts'
import type { OperatorClient } from '../operator-client.ts'
import type { Canaries } from './canary-device.ts'
import type { Cell } from './canary-call.ts'
import { hostedStop } from './hosted.ts'
import type { Stage } from './stage.ts'
import { baseline, stopAndRestore, type Done, type Scene, type Step, type StepName } from './steps.ts'
import { cutOff, deviceStop, orgStop } from './stops.ts'
import { createTraffic, roundMs } from './traffic.ts'
import { createStopped } from './undo.ts'

export interface DrillPlan {
  readonly drillId: string
  readonly orgId: string
  /** Of hosted MachineID there are neither epochs nor cuts nor signatures. */
  readonly isHosted: boolean
  readonly callsPerSecond: number
  readonly forMs: number
  readonly cut: boolean
  /** Set when the org is to be disabled as well: with a key that may enable it again. */
  readonly orgOperator: OperatorClient | undefined
  readonly operator: OperatorClient
  readonly stage: Stage
  readonly canaries: Canaries | undefined
}

export interface DrillWorld {
  /** Wall clock, for the record only. */
  readonly nowMs: () => number
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  readonly onBegin: (name: StepName) => void
  readonly onStep: (step: Step) => void
  readonly onTrouble: (text: string) => void
  /** How long a restore is tried. Default 30 s. */
  readonly restoreForMs?: number | undefined
}

export interface Drilled {
  readonly report: DrillReportBody
  readonly ended: Done['ended']
  /** A stop did not hold. */
  readonly broken: boolean
  /** What is left stopped or registered, each with the command that mends it. */
  readonly left: readonly string[]
  /** What ended it early. */
  readonly failure: unknown
}

const SHORT_MS = 20
const LONG_MS = { min: 2000, max: 30_000 }
const WARM_MS = 1500
/** A canary call may take this long besides its wait. */
const SPARE_MS = 10_000
/** A cut is no stop: it reaches the threads that answer questions a little after its answer. */
const CUT_SETTLES_MS = 250
const MAX_PLOTTED = 5000
const MAX_CUT_SECONDS = 60

/** Never rejects: whatever happens, what it stopped is restored, and what was seen is reported. */
export async function runDrill(plan: DrillPlan, world: DrillWorld): Promise<Drilled> {
  const { stage, callsPerSecond, canaries } = plan
  const time = () => new Date(world.nowMs()).toISOString()
  const nowMs = () => performance.now()
  const everyRoundMs = roundMs(stage.cells.length, callsPerSecond)
  const longMs = Math.min(LONG_MS.max, Math.max(LONG_MS.min, everyRoundMs + 500))
  const giveUp = new AbortController()
  const traffic = createTraffic({
    cells: stage.cells,
    send: (cell, holdMs) => send(stage, cell, holdMs, giveUp.signal),
    callsPerSecond,
    shortMs: SHORT_MS,
    longMs,
    nowMs,
  })
  const stopped = createStopped({
    nowMs,
    tryForMs: world.restoreForMs,
    onRetry: ({ what }, why) => world.onTrouble(`Restoring ${what} goes on: ${why}`),
  })
  const scene: Scene = {
    ...world,
    stage,
    traffic,
    stopped,
    forMs: Math.max(plan.forMs, everyRoundMs + 250),
    warmMs: Math.max(WARM_MS, everyRoundMs + 250),
    nowMs,
    time,
  }
  const done: Done = { steps: [], ended: [], leftStopped: [], broken: false }
  const startedAt = time()
  let failure: unknown
  try {
    await baseline(scene, done)
    await perform(plan, scene, done, longMs)
  } catch (error) {
    failure = error
  }
  traffic.pause()
  if (world.signal.aborted) {
    for (const { what, command } of stopped.held())
      world.onTrouble(`Restoring ${what} first. A second Ctrl-C would leave it stopped; by hand: ${command}`)
  }
  const left = [...done.leftStopped, ...(await stopped.restoreAll())]
  // One that is left stopped stays where it can be looked at: a tombstone would keep its stop for the next drill.
  const canariesLeft = left.length === 0 ? ((await canaries?.remove()) ?? []) : (canaries?.keep() ?? [])
  if (failure !== undefined) giveUp.abort()
  await traffic.drained()
  const held = done.steps.every((step) => step.held)
  const { drillId, orgId } = plan
  return {
    report: {
      version: 1,
      drillId,
      orgId,
      startedAt,
      endedAt: time(),
      held,
      target: { kind: stage.target.kind, deviceIds: [...stage.target.deviceIds] },
      callsPerSecond,
      toolServers: [...stage.actors.values()].map(({ client, inspected }) => ({
        url: client.url,
        replica: inspected.replica,
        stopStream: inspected.stopStream.state,
      })),
      steps: done.steps,
      endedMs: thinned(done.ended.map(({ ms }) => ms)),
    },
    ended: done.ended,
    broken: done.broken,
    left: [...left, ...canariesLeft],
    failure,
  }
}

async function perform(plan: DrillPlan, scene: Scene, done: Done, longMs: number): Promise<void> {
  const { operator, orgOperator, stage, drillId, isHosted, cut } = plan
  const reason = `drill ${drillId}`
  const { deviceIds } = stage.target
  const isLast = orgOperator === undefined && !cut
  const names = ['stop', 'restore'] as const
  const stop = isHosted ? hostedStop(operator, deviceIds) : deviceStop(operator, deviceIds, reason)
  const isOfStop = isHosted
    ? isNoFailure
    : (code: string) => code === 'DEVICE_REVOKED' || code === 'STOP_PUSHED'
  if (!(await stopAndRestore(scene, done, { names, stop, isOfStop, isLast }))) return
  if (orgOperator !== undefined) {
    const steps = { names: ['disable_org', 'enable_org'] as const, stop: orgStop(orgOperator, reason) }
    const isOfOrg = (code: string) => code === 'ORG_DISABLED' || code === 'STOP_PUSHED'
    if (!(await stopAndRestore(scene, done, { ...steps, isOfStop: isOfOrg, isLast: !cut }))) return
  }
  if (!cut) return
  const seconds = Math.min(MAX_CUT_SECONDS, Math.ceil((scene.forMs + longMs + SPARE_MS) / 1000))
  await stopAndRestore(scene, done, {
    names: ['cut', 'mend'],
    stop: cutOff(operator, deviceIds, seconds),
    isOfStop: (code) => code.startsWith('AUTHORITY_'),
    settleMs: CUT_SETTLES_MS,
    isLast: true,
  })
}

/** Of hosted MachineID we do not know all codes, but ours: those would be no word of the authority. */
function isNoFailure(code: string): boolean {
  return !code.startsWith('AUTHORITY_') && !code.startsWith('GUARD_')
}

async function send(
  stage: Stage,
  { toolServer, surface, boundary }: Cell,
  holdMs: number,
  signal: AbortSignal,
) {
  const actor = stage.actors.get(toolServer)
  if (actor === undefined) throw new Error(`${toolServer} is not part of this drill.`)
  const within = AbortSignal.any([signal, AbortSignal.timeout(holdMs + SPARE_MS)])
  const { canaryDeviceId } = actor
  const body = { boundary, holdMs, ...(canaryDeviceId === undefined ? {} : { canaryDeviceId }) }
  try {
    return await actor.client.canary(surface, body, within)
  } catch (error) {
    throw new Error(messageOf(error), { cause: error })
  }
}

/** Evenly over all of them, the largest kept: a report has a limit. */
function thinned(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b)
  if (sorted.length <= MAX_PLOTTED) return sorted
  const share = (sorted.length - 1) / (MAX_PLOTTED - 1)
  return Array.from({ length: MAX_PLOTTED }, (_, index) => sorted[Math.round(index * share)] ?? 0)
}
