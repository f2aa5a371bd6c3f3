import { CALLS, type CallOutput } from '../machineid/calls.ts'
import { EXIT, type Cli, type Commands } from './cli.ts'
import { CliError } from './cli-error.ts'
import { checkPattern } from './device-list.ts'
import { untilText } from './devices.ts'
import { ifEpochOf, withIfEpoch, type IfEpoch } from './if-epoch.ts'
import type { OperatorClient } from './operator-client.ts'
import { isAllStars, isWide } from '../device-patterns.ts'
import {
  remindAfterSeconds,
  stopAfterAsking,
  underway,
  withStopOptions,
  type StopOptions,
} from './stop-asking.ts'
import { table } from './table.ts'
import { when } from './times.ts'

export type ReleaseOptions = Pick<StopOptions, 'reason'> & IfEpoch
type Lock = CallOutput<typeof CALLS.locks>['locks'][number]

export const lockCommands: Commands = (program, cli) => {
  const lock = program
    .command('lock')
    .description('patterns of devices that are stopped, present and to come')
  withStopOptions(
    lock
      .command('add <pattern>')
      .description('stop every device that matches, for example openai-agent:prod:*'),
  ).action((pattern: string, options: StopOptions) => add(cli(), pattern, options))
  lock
    .command('ls')
    .description('list the locks that are held')
    .option('--all', 'the released ones too')
    .action((options: { readonly all?: boolean }) => list(cli(), options))
  withIfEpoch(lock.command('release <lock>').description('release one, by its ID or its pattern'))
    .option('--reason <text>', 'why, for the audit')
    .action((idOrPattern: string, options: ReleaseOptions) => release(cli(), idOrPattern, options))
}

async function add(cli: Cli, pattern: string, options: StopOptions): Promise<void> {
  checkPattern(pattern)
  if (isAllStars(pattern) && options.reason === undefined) {
    throw new CliError('REASON_NEEDED', `${pattern} stops every device. Say why: --reason TEXT`, EXIT.usage)
  }
  const { reason = 'locked', dryRun } = options
  const operator = cli.operator('stop')
  const input = { pattern, reason, remindAfterSeconds: remindAfterSeconds(options) }
  const asks = isWide(pattern)
  const locked = await stopAfterAsking(cli, { operator, call: CALLS.lock, input, dryRun, asks, verb: 'lock' })
  if (locked === undefined) return
  cli.show({
    json: locked,
    text: `Locked ${pattern} at epoch ${locked.epoch}.${untilText(options)} Undo: holdpoint lock release ${locked.lockId}`,
  })
}

async function list(cli: Cli, { all = false }: { readonly all?: boolean }): Promise<void> {
  const answer = await cli.operator('see').call(CALLS.locks, { all: all ? 'true' : 'false' })
  const { paint } = cli
  const text = () =>
    table(
      answer.locks,
      [
        { title: 'LOCK', of: ({ lockId }) => lockId },
        { title: 'PATTERN', of: ({ pattern }) => pattern },
        { title: 'STATE', of: (lock) => (lock.active ? paint.red : paint.dim)(stateOf(lock)) },
        { title: 'SINCE', of: ({ changedAt }) => when(changedAt, cli) },
        { title: 'BY', of: ({ by }) => by, shrinks: true },
        { title: 'REASON', of: ({ reason }) => reason, shrinks: true },
      ],
      cli,
    )
  const isEmpty = answer.locks.length === 0 && cli.columns !== undefined
  cli.show({ json: answer, text: isEmpty ? 'No lock is held.' : text })
}

function stateOf({ active, overdue }: Lock): string {
  if (!active) return 'released'
  return overdue ? 'held, overdue' : 'held'
}

async function release(cli: Cli, idOrPattern: string, options: ReleaseOptions): Promise<void> {
  const ifEpoch = ifEpochOf(options)
  const operator = cli.operator('restore')
  const { locks } = await operator.call(CALLS.locks, {})
  const lock = locks.find(({ lockId, pattern }) => lockId === idOrPattern || pattern === idOrPattern)
  if (lock === undefined) {
    throw new CliError('LOCK_NOT_FOUND', `No lock ${idOrPattern} is held. See: holdpoint lock ls`)
  }
  await releaseLock(cli, operator, lock, { reason: options.reason, ifEpoch })
}

/** Against the epoch that was given, else that it has just shown (G6). */
export async function releaseLock(
  cli: Cli,
  operator: OperatorClient,
  lock: Lock,
  { reason, ifEpoch }: { readonly reason: string | undefined; readonly ifEpoch: number | undefined },
): Promise<void> {
  const { lockId, pattern, epoch } = lock
  if (!cli.isJson) cli.note(`${pattern}: locked ${when(lock.changedAt, cli)} by ${lock.by}: ${lock.reason}`)
  const released = await underway(cli, 'Releasing …', () =>
    operator.call(CALLS.lockRelease, { id: lockId, ifEpoch: ifEpoch ?? epoch, reason }),
  )
  cli.show({
    json: released,
    text: `Released ${pattern} at epoch ${released.epoch}. Devices that were revoked stay revoked.`,
  })
}
