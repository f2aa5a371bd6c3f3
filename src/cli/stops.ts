import { InvalidArgumentError } from 'commander'

import { CALLS } from '../machineid/calls.ts'
import type { StopBody } from '../machineid/wire-stops.ts'
import type { Cli, Commands } from './cli.ts'
import { restoreStop, type RestoreStopOptions } from './restore-stop.ts'
import { restoreCommand } from '../next-commands.ts'
import { oneLine } from './one-line.ts'
import { confirmationOf, stopLines, whatOf } from './stop-text.ts'
import { table } from './table.ts'
import { when } from './times.ts'
import { stopOf } from './watch-stop.ts'

interface ListOptions {
  readonly limit: number
  readonly cursor?: string
}

/** Past stops, and who has confirmed them. */
export const stopsCommands: Commands = (program, cli) => {
  const stops = program.command('stops').description('what was stopped, and which process has confirmed it')
  stops
    .command('ls')
    .description('list the stops, the newest first')
    .option('--limit <count>', 'how many', wholeNumberOf, 20)
    .option('--cursor <cursor>', 'the nextCursor of the page before')
    .action((options: ListOptions) => list(cli(), options))
  stops
    .command('show')
    .description('one stop: what every process made of it, call by call')
    .argument('<epoch>', 'of the stop, as panic and stops ls print it', wholeNumberOf)
    .action((epoch: number) => show(cli(), epoch))
  stops
    .command('restore')
    .description(
      'restore the devices that one stop took away: none that was revoked before, or stopped since',
    )
    .argument('<epoch>', 'of the stop, as panic and stops ls print it', wholeNumberOf)
    .option('--reason <text>', 'why, for the audit')
    .option('--dry-run', 'say which they are, and change nothing')
    .action((epoch: number, options: RestoreStopOptions) => restoreStop(cli(), epoch, options))
}

function wholeNumberOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Give a whole number.')
}

async function list(cli: Cli, { limit, cursor }: ListOptions): Promise<void> {
  const page = await cli.operator('see').call(CALLS.stopHistory, { limit, cursor })
  cli.show({
    json: page,
    text: () => (page.stops.length === 0 && cli.columns !== undefined ? NONE : stopTable(page.stops, cli)),
  })
  if (page.nextCursor !== null && !cli.isJson) cli.note(`There are more: --cursor ${page.nextCursor}`)
}

const NONE = 'Nothing has been stopped.'

export function stopTable(stops: readonly StopBody[], cli: Cli): string {
  return table(
    stops,
    [
      { title: 'EPOCH', of: ({ epoch }) => epoch },
      { title: 'WHEN', of: ({ at }) => when(at, cli) },
      { title: 'ACTION', of: ({ action }) => action },
      { title: 'WHAT', of: whatOf, shrinks: true },
      { title: 'CONFIRMED', of: (stop) => confirmationOf(stop, cli.paint) },
      { title: 'BY', of: ({ by }) => by, shrinks: true },
      { title: 'REASON', of: ({ reason }) => reason ?? '-', shrinks: true },
    ],
    cli,
  )
}

async function show(cli: Cli, epoch: number): Promise<void> {
  const stop = await stopOf(cli.operator('see'), epoch)
  const restore = restoreCommand(stop)
  cli.show({
    json: { ...stop, restore },
    text: () =>
      [
        `${cli.paint.bold(`${stop.action} ${whatOf(stop)}`)}, epoch ${stop.epoch}`,
        `By ${stop.by}, ${when(stop.at, cli)}${cli.columns === undefined ? '' : ` (${stop.at})`}${stop.reason === null ? '' : `: "${oneLine(stop.reason)}"`}`,
        '',
        stopLines(stop, cli),
        `To restore, if it still holds: ${cli.paint.bold(restore)}`,
      ].join('\n'),
  })
}
