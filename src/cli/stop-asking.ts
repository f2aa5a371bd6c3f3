import type { Command } from 'commander'

import type { Call, CallInput, CallOutput } from '../machineid/calls.ts'
import { blastRadius, blastText, showDryRun } from './blast-radius.ts'
import { EXIT, type Cli } from './cli.ts'
import { CliError } from './cli-error.ts'
import type { OperatorClient } from './operator-client.ts'
import { durationSeconds } from './times.ts'

export interface StopOptions {
  readonly reason?: string
  readonly remindAfter?: string
  readonly dryRun?: boolean
}

/** `--reason`, `--remind-after` and `--dry-run`. */
export function withStopOptions(command: Command, { remind = true } = {}): Command {
  command.option('--reason <text>', 'why, for the audit and for whoever finds it stopped')
  if (remind)
    command.option('--remind-after <time>', 'when it counts as overdue: 30m, 2h, 1d. It stays stopped')
  return command.option('--dry-run', 'say what it would hit, and change nothing')
}

export function remindAfterSeconds({ remindAfter }: StopOptions): number | undefined {
  return remindAfter === undefined ? undefined : durationSeconds(remindAfter, '--remind-after')
}

export interface Stopping<C extends Call> {
  readonly operator: OperatorClient
  readonly call: C
  readonly input: CallInput<C>
  readonly dryRun: boolean | undefined
  /** Whether a person is asked first: where it hits more than one device. */
  readonly asks: boolean
  /** `revoke`, `lock`. */
  readonly verb: string
}

/** Makes a stop, asks before a wide one; undefined when it was only looked at. Throws when the answer was no. */
export async function stopAfterAsking<C extends Call>(
  cli: Cli,
  { operator, call, input, dryRun, asks, verb }: Stopping<C>,
): Promise<CallOutput<C> | undefined> {
  if (dryRun === true) {
    showDryRun(cli, await blastRadius(operator, call, input), `Would ${verb}`)
    return undefined
  }
  if (asks) {
    await confirmed(cli, async () => `${capital(verb)} ${await hitText({ operator, call, input })}?`)
  }
  return underway(cli, `${capital(verb)} …`, () => operator.call(call, input))
}

async function hitText<C extends Call>({
  operator,
  call,
  input,
}: Pick<Stopping<C>, 'operator' | 'call' | 'input'>): Promise<string> {
  try {
    return blastText(await blastRadius(operator, call, input))
  } catch (error) {
    // A key may burn itself, and need not be one that may look.
    if (error instanceof CliError && error.code === 'INSUFFICIENT_SCOPE') return 'what this key may not see'
    throw error
  }
}

/** Throws unless somebody says yes. What it would do is looked up only when somebody is asked. */
export async function confirmed(cli: Cli, question: () => string | Promise<string>): Promise<void> {
  if (cli.isSure || (await cli.confirm(await question()))) return
  throw new CliError('NOT_CONFIRMED', 'Nothing was changed.', EXIT.error)
}

/** Says what is being done, when it takes longer than a second. */
export async function underway<T>(cli: Cli, what: string, work: () => Promise<T>): Promise<T> {
  const progress = cli.progress(what)
  try {
    return await work()
  } finally {
    progress.end()
  }
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}
