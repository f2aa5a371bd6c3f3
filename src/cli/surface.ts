import { CALLS } from '../machineid/calls.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { untilText } from './devices.ts'
import { ifEpochOf, withIfEpoch } from './if-epoch.ts'
import { releaseLock, type ReleaseOptions } from './locks.ts'
import { remindAfterSeconds, stopAfterAsking, withStopOptions, type StopOptions } from './stop-asking.ts'
import { assertHit, surfaceHit } from './surface-hit.ts'
import { surfacePattern } from './surface-pattern.ts'

interface Where {
  readonly service?: string
  readonly env?: string
}

/** A surface is stopped by a lock on its devices, so those of replicas to come are stopped too. */
export const surfaceCommands: Commands = (program, cli) => {
  const surface = program.command('surface').description('one surface on every replica, present and to come')
  withStopOptions(
    surface
      .command('stop <surface>')
      .description('stop it: a lock on *:*:SURFACE:*')
      .option('--env <env>', 'only in this environment, for example prod')
      .option('--service <service>', 'only of this service, for example openai-agent'),
  ).action((name: string, options: StopOptions & Where) => stop(cli(), name, options))
  withIfEpoch(surface.command('restore <surface>').description('release that lock'))
    .option('--env <env>', 'as it was stopped')
    .option('--service <service>', 'as it was stopped')
    .option('--reason <text>', 'why, for the audit')
    .action((name: string, options: ReleaseOptions & Where) => restore(cli(), name, options))
}

async function stop(cli: Cli, name: string, options: StopOptions & Where): Promise<void> {
  const pattern = surfacePattern(name, options)
  const { reason = `surface ${name} stopped`, dryRun } = options
  const operator = cli.operator('stop')
  const input = { pattern, reason, remindAfterSeconds: remindAfterSeconds(options) }
  const call = CALLS.lock
  const locked = await stopAfterAsking(cli, {
    operator,
    call,
    input,
    dryRun,
    asks: true,
    verb: `stop surface ${name}:`,
  })
  if (locked === undefined) return
  const hit = await surfaceHit(operator, { name, pattern })
  const stopped =
    hit.deviceCount === 0
      ? `Locked surface ${name}, which has no device now: NOTHING that runs was stopped`
      : `Stopped surface ${name}, also on replicas to come`
  cli.show({
    json: { ...locked, deviceCount: hit.deviceCount },
    text: `${stopped} (${pattern}, epoch ${locked.epoch}).${untilText(options)} Undo: ${undo(name, options)}`,
  })
  assertHit(hit, { name, pattern })
}

function undo(name: string, { env, service }: Where): string {
  const narrowed = [env && `--env ${env}`, service && `--service ${service}`].filter(Boolean)
  return ['holdpoint surface restore', name, ...narrowed].join(' ')
}

async function restore(cli: Cli, name: string, options: ReleaseOptions & Where): Promise<void> {
  const ifEpoch = ifEpochOf(options)
  const pattern = surfacePattern(name, options)
  const operator = cli.operator('restore')
  const { locks } = await operator.call(CALLS.locks, {})
  const lock = locks.find((one) => one.pattern === pattern)
  if (lock === undefined) {
    const others = locks.filter((one) => one.pattern.split(':')[2] === name).map((one) => one.pattern)
    const hint =
      others.length === 0
        ? 'See: holdpoint lock ls'
        : `There is: ${others.join(', ')}. Give --env or --service as it was stopped.`
    throw new CliError(
      'NOT_STOPPED',
      `No lock has the pattern ${pattern}: it was not stopped this way. ${hint}`,
      EXIT.error,
    )
  }
  await releaseLock(cli, operator, lock, { reason: options.reason, ifEpoch })
}
