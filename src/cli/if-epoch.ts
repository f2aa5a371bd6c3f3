import type { Command } from 'commander'

import { EXIT } from './cli.ts'
import { CliError } from './cli-error.ts'

export interface IfEpoch {
  readonly ifEpoch?: string
}

/** `--if-epoch`, for a restore of one thing. */
export function withIfEpoch(command: Command): Command {
  return command.option(
    '--if-epoch <epoch>',
    'of the stop that is restored, and no newer one (default: as it is now)',
  )
}

export function ifEpochOf({ ifEpoch }: IfEpoch): number | undefined {
  if (ifEpoch === undefined) return undefined
  if (/^\d{1,15}$/.test(ifEpoch)) return Number(ifEpoch)
  throw new CliError('BAD_EPOCH', `An epoch is a whole number, not "${ifEpoch}".`, EXIT.usage)
}
