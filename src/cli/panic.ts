import { hostname, userInfo } from 'node:os'
import { InvalidArgumentError } from 'commander'

import { CALLS } from '../machineid/calls.ts'
import type { StopBody } from '../machineid/wire-stops.ts'
import { shellQuoted } from '../shell-quoted.ts'
import { blastRadius, blastText, quickly, showDryRun, type BlastRadius } from './blast-radius.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { OperatorClient } from './operator-client.ts'
import { stopLines } from './stop-text.ts'
import { stopUntilAcked, TRY_TIMEOUT_MS, type Tries } from './stop-tries.ts'
import { assertHit, surfaceHit, type SurfaceHit } from './surface-hit.ts'
import { surfacePattern } from './surface-pattern.ts'
import { countsOf, watchStop, type Watched } from './watch-stop.ts'

/** What it stops: everything, or every device of a surface, present or to come. */
interface Target {
  readonly surface: { readonly name: string; readonly pattern: string } | undefined
  readonly reason: string
}

interface Options {
  readonly surface?: string
  readonly reason?: string
  readonly wait: number
  readonly waitConfirmed?: boolean
  readonly dryRun?: boolean
}

const WAIT_SECONDS = 10

/** One word that stops everything from anywhere, with the stop key alone. */
export const panicCommands: Commands = (program, cli) => {
  program
    .command('panic')
    .summary('stop everything now')
    .description(
      'Disables the whole org, or locks one surface on every replica and those to come. Tries until the stop is acked,\n' +
        'then shows which process confirms it. Takes a key of kind stop. Restores nothing: it prints what does.',
    )
    .option('--surface <name>', 'only this surface, for example payments')
    .option('--reason <text>', 'why, for whoever looks at it later (default: panic by USER@HOST)')
    .option(
      '--wait <seconds>',
      'how long to try, and then how long to wait for confirmations',
      secondsOf,
      WAIT_SECONDS,
    )
    .option('--wait-confirmed', 'status 3 when not every process has confirmed it by then')
    .option('--dry-run', 'only show what it would hit')
    .action((options: Options) => panic(cli(), options))
}

function secondsOf(text: string): number {
  const seconds = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && seconds <= 3600) return seconds
  throw new InvalidArgumentError('Give a number of seconds, 0 to 3600.')
}

async function panic(cli: Cli, options: Options): Promise<void> {
  const target: Target = {
    surface:
      options.surface === undefined
        ? undefined
        : { name: options.surface, pattern: surfacePattern(options.surface) },
    reason: options.reason ?? `panic by ${userName()}@${hostname()}`,
  }
  const operator = cli.operator('stop')
  if (options.dryRun === true) {
    showDryRun(cli, await blastOf(operator, target), `Would stop ${whatOf(target)}:`)
    return
  }
  // The preview never delays the stop: whoever is sure gets the stop first.
  if (!cli.isSure && !(await agreed(cli, operator, target))) {
    throw new CliError('NOT_CONFIRMED', 'Nothing was stopped.', EXIT.error)
  }
  await stopAndWatch(cli, operator, target, options)
}

async function agreed(cli: Cli, operator: OperatorClient, target: Target): Promise<boolean> {
  const blast = await quickly(blastOf(operator, target))
  const hit = typeof blast === 'string' ? `what it hits cannot be said: ${blast}` : blastText(blast)
  const what = whatOf(target, typeof blast === 'string' ? undefined : blast.preview.orgId)
  return cli.confirm(`Stop ${what}: ${hit}?`)
}

function blastOf(operator: OperatorClient, { surface, reason }: Target): Promise<BlastRadius> {
  return surface === undefined
    ? blastRadius(operator, CALLS.orgDisable, { reason })
    : blastRadius(operator, CALLS.lock, { pattern: surface.pattern, reason })
}

function whatOf({ surface }: Target, orgId?: string): string {
  const org = orgId === undefined ? 'this org' : `org ${orgId}`
  return surface === undefined
    ? `EVERYTHING of ${org}`
    : `surface ${surface.name} of ${org}, on every replica and those to come`
}

async function stopAndWatch(
  cli: Cli,
  operator: OperatorClient,
  target: Target,
  options: Options,
): Promise<void> {
  const waitMs = options.wait * 1000
  const tried = await stopUntilAcked({
    waitMs,
    signal: cli.signal,
    onFailed: (tries, why) => cli.note(`Not acked yet, try ${tries} failed: ${why}`),
    stop: () => make(operator, target),
    repeat: repeatOf(options),
  })
  const { epoch } = tried.result
  const hit = target.surface === undefined ? NOT_COUNTED : await surfaceHit(operator, target.surface)
  const acked: Acked = { ...tried, hit }
  if (!cli.isJson) cli.line({ json: {}, text: ackText(cli, target, acked) })
  const watched = await watchedStop(cli, operator, { epoch, waitMs })
  const result = resultOf(target, acked, watched)
  cli.show({
    json: result,
    text: () => `${confirmationText(cli, watched)}\nTo restore: ${cli.paint.bold(result.restore)}`,
  })
  if (watched.interrupted) {
    throw new CliError('INTERRUPTED', 'Interrupted while waiting. The stop holds.', EXIT.interrupted)
  }
  if (target.surface !== undefined) assertHit(hit, target.surface)
  if (options.waitConfirmed === true && !result.confirmed) {
    throw new CliError(
      'STOP_UNCONFIRMED',
      `The stop holds, and is not confirmed (${result.state}). Look again: holdpoint stops show ${epoch}`,
      EXIT.denied,
    )
  }
}

interface Made {
  readonly orgId: string
  readonly epoch: number
}

interface Acked extends Tries<Made> {
  readonly hit: SurfaceHit
}

/** The whole org is everything, whatever there is. */
const NOT_COUNTED: SurfaceHit = { deviceCount: null, missed: [] }

async function make(operator: OperatorClient, { surface, reason }: Target): Promise<Made> {
  const within = { timeoutMs: TRY_TIMEOUT_MS }
  return surface === undefined
    ? operator.call(CALLS.orgDisable, { reason }, within)
    : operator.call(CALLS.lock, { pattern: surface.pattern, reason }, within)
}

function resultOf({ surface, reason }: Target, acked: Acked, { stop }: Watched) {
  const { hit } = acked
  const { orgId, epoch } = acked.result
  const state = stop?.state ?? 'unknown'
  return {
    stopped: hit.deviceCount !== 0,
    action: surface === undefined ? 'org.disable' : 'lock.add',
    orgId,
    surface: surface?.name ?? null,
    pattern: surface?.pattern ?? null,
    deviceCount: hit.deviceCount,
    epoch,
    reason,
    ackMs: Math.round(acked.ackMs * 10) / 10,
    tries: acked.tries,
    confirmed: state === 'confirmed',
    state,
    replicas: stop?.replicas ?? [],
    restore: surface === undefined ? 'holdpoint org enable' : `holdpoint surface restore ${surface.name}`,
  }
}

function ackText({ paint }: Cli, target: Target, { result, ackMs, tries, hit }: Acked): string {
  const tried = tries === 1 ? '' : ` on try ${tries}`
  const what = whatOf(target, result.orgId)
  const head =
    hit.deviceCount === 0
      ? `${paint.bold(paint.red('NOTHING that runs was stopped'))}: no device has this surface now. Locked ${what}`
      : `${paint.bold(paint.red('STOPPED'))} ${what}`
  return `${head}\nAcked in ${ackMs.toFixed(1)} ms${tried}, epoch ${result.epoch}, reason "${target.reason}". From now on every hold point denies${target.surface === undefined ? '' : ' there'}.`
}

async function watchedStop(
  cli: Cli,
  operator: OperatorClient,
  { epoch, waitMs }: { readonly epoch: number; readonly waitMs: number },
): Promise<Watched> {
  const progress = cli.progress('Waiting for confirmations')
  try {
    const onSeen = (stop: StopBody) => progress.update(`Waiting for confirmations: ${countsOf(stop)}`)
    return await watchStop(operator, { epoch, waitMs, signal: cli.signal, onSeen })
  } finally {
    progress.end()
  }
}

function confirmationText(cli: Cli, { stop, trouble }: Watched): string {
  if (stop !== undefined) return stopLines(stop, cli)
  return `Whether it is confirmed is not known: ${trouble ?? 'nobody has looked'}`
}

function repeatOf({ surface, reason, wait, waitConfirmed }: Options): string {
  return [
    'holdpoint panic --yes',
    ...(surface === undefined ? [] : [`--surface ${surface}`]),
    ...(reason === undefined ? [] : [`--reason ${shellQuoted(reason)}`]),
    ...(wait === WAIT_SECONDS ? [] : [`--wait ${wait}`]),
    ...(waitConfirmed === true ? ['--wait-confirmed'] : []),
  ].join(' ')
}

/** There may be no name for who runs this, as in a container. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}
