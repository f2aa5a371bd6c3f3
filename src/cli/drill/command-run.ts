import { randomBytes } from 'node:crypto'
import { join } from 'node:path'

import { CALLS } from '../../machineid/calls.ts'
import { CliError } from '../cli-error.ts'
import { EXIT, type Cli } from '../cli.ts'
import type { OperatorClient } from '../operator-client.ts'
import { isNotOurs } from '../operator-refusal.ts'
import { registerCanaries, type Canaries } from './canary-device.ts'
import { confirmed } from './confirm.ts'
import { registerHosted } from './hosted.ts'
import { errorOf, tell } from './outcome.ts'
import { writeReport } from './report.ts'
import { runDrill, type Drilled, type DrillPlan } from './run-drill.ts'
import { setStage, type Stage } from './stage.ts'
import { doing, stepLine } from './text.ts'

export interface RunOptions {
  readonly surface: string | undefined
  readonly org: boolean
  readonly cut: boolean
  readonly callsPerSecond: number
  readonly forMs: number
  readonly dryRun: boolean
  /** How long a restore is tried. Default 30 s. */
  readonly restoreForMs?: number | undefined
}

interface Org {
  readonly orgId: string
  readonly isHosted: boolean
}

/** `drill`. Throws `CliError`: status 3 when a stop did not hold, 1 when the drill could not show that it did. */
export async function runCommand(cli: Cli, options: RunOptions): Promise<void> {
  const operator = cli.operator('restore')
  const orgOperator = options.org ? managerOf(cli) : undefined
  const stage = await setStage(cli.toolServers(), options.surface)
  const { orgId, isHosted } = await orgOf(operator, stage)
  if (isHosted && options.org) throw new CliError('NOT_WITH_HOSTED', NO_ORG, EXIT.usage)
  if (!(await confirmed(cli, { ...options, operator, stage, isHosted }))) return
  const drillId = newDrillId(cli.nowMs())
  const canaries = await canariesFor(cli, { operator, stage, isHosted, drillId })
  const cut = options.cut && canaries !== undefined && !isHosted
  const { callsPerSecond, forMs } = options
  const plan = {
    drillId,
    orgId,
    isHosted,
    callsPerSecond,
    forMs,
    cut,
    orgOperator,
    operator,
    stage,
    canaries,
  }
  const drilled = await watched(cli, plan, options.restoreForMs)
  const signer = isHosted ? undefined : operator
  const written = await writeReport(join(cli.dataDir, 'drills'), drilled.report, drilled.ended, signer)
  tell(cli, drilled, written, notDoneOf(options, { stage, isHosted, cut }))
  const error = errorOf(cli, drilled, written, isHosted)
  if (error !== undefined) throw error
}

interface Registering {
  readonly operator: OperatorClient
  readonly stage: Stage
  readonly isHosted: boolean
  readonly drillId: string
}

/** None where a real surface is drilled. */
async function canariesFor(
  cli: Cli,
  { operator, stage: { target }, isHosted, drillId }: Registering,
): Promise<Canaries | undefined> {
  if (target.kind !== 'canary') return undefined
  const canaries = isHosted
    ? await registerHosted(operator, target.deviceIds)
    : await registerCanaries(operator, target.deviceIds, { drillId, nowMs: cli.nowMs })
  for (const deviceId of canaries.found)
    cli.note(`The canary ${deviceId} was there already: it stays registered.`)
  return canaries
}

/** A key that cannot enable the org again must not disable it. */
function managerOf(cli: Cli): OperatorClient {
  const operator = cli.operator('manage')
  if (['admin', 'full', 'unknown'].includes(operator.key.kind)) return operator
  throw new CliError(
    'ADMIN_KEY_NEEDED',
    `With --org the drill disables the org and enables it again, which takes a key of kind admin or full. ${operator.key.from} is of kind ${operator.key.kind}.`,
    EXIT.denied,
  )
}

const NO_ORG = 'Hosted MachineID cannot disable an org. Leave out --org.'

async function orgOf(operator: OperatorClient, { actors }: Stage): Promise<Org> {
  try {
    const { orgId } = await operator.call(CALLS.signingKey, {})
    return { orgId, isHosted: false }
  } catch (error) {
    const mayBeHosted = [...actors.values()].every(({ inspected }) => inspected.profile === 'machineid')
    if (mayBeHosted && isNotOurs(error)) return { orgId: 'unknown', isHosted: true }
    throw error
  }
}

function notDoneOf(
  { cut: wantsCut }: RunOptions,
  { stage, isHosted, cut }: { readonly stage: Stage; readonly isHosted: boolean; readonly cut: boolean },
): readonly string[] {
  const notDone: string[] = []
  if (wantsCut && !cut)
    notDone.push(
      isHosted
        ? 'cut: hosted MachineID cannot leave a canary without an answer'
        : 'cut: only a canary can be cut off, not a real surface',
    )
  if (isHosted) {
    notDone.push('signature: hosted MachineID signs nothing')
    notDone.push('compare-and-set restore: hosted MachineID has no epochs')
  }
  for (const { client, inspected } of stage.actors.values()) {
    if (inspected.stopStream.state === 'up') continue
    const why = inspected.stopStream.reason === null ? '' : ` (${inspected.stopStream.reason})`
    notDone.push(`pushed stops on ${client.url}: its stop stream is ${inspected.stopStream.state}${why}`)
  }
  return notDone
}

/** Sorts by time, and is like no other. */
function newDrillId(nowMs: number): string {
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '')
  return `${time.toLowerCase()}-${randomBytes(3).toString('hex')}`
}

async function watched(cli: Cli, plan: DrillPlan, restoreForMs: number | undefined): Promise<Drilled> {
  let progress: { end(): void } | undefined
  const note = (text: string) => {
    progress?.end()
    progress = undefined
    if (!cli.isJson) cli.note(text)
  }
  note(
    `Drill ${plan.drillId}: ${plan.stage.target.deviceIds.join(', ')}, ${plan.callsPerSecond} calls per second`,
  )
  const drilled = await runDrill(plan, {
    nowMs: cli.nowMs,
    signal: cli.signal,
    restoreForMs,
    onBegin: (name) => {
      progress?.end()
      progress = cli.progress(doing(name))
    },
    onStep: (step) => note(stepLine(step, cli)),
    onTrouble: note,
  })
  progress?.end()
  return drilled
}
