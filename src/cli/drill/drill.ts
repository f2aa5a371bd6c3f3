import { InvalidArgumentError } from 'commander'

import { CALLS } from '../../machineid/calls.ts'
import type { Cli, Commands } from '../cli.ts'
import { table } from '../table.ts'
import { when } from '../times.ts'
import { runCommand } from './command-run.ts'
import { measureTable, stepLine, verdictLine } from './text.ts'
import { verifyFile } from './verify.ts'

interface DrillOptions {
  readonly surface?: string
  readonly org?: boolean
  readonly cut: boolean
  readonly rate: number
  readonly for: number
  readonly dryRun?: boolean
}

/** Proves that a stop holds, on the deployment that runs, without a real effect. */
export const drillCommands: Commands = (program, cli) => {
  const drill = program
    .command('drill')
    .description('prove that a stop holds: stops a canary on every tool server, measures, and restores it')
    .option('--surface <name>', 'stop this real surface instead of a canary (asks first)')
    .option('--org', 'disable and enable the whole org as well (asks first, takes an admin key)')
    .option('--no-cut', 'do not make the authority unreachable for the canary')
    .option('--rate <calls>', 'calls per second in all, 1 to 100', numberBetween(1, 100), 20)
    .option('--for <seconds>', 'how long to measure after each ack, 1 to 30', numberBetween(1, 30), 3)
    .option('--dry-run', 'say what would be stopped, and change nothing')
    .action((options: DrillOptions) =>
      runCommand(cli(), {
        surface: options.surface,
        org: options.org === true,
        cut: options.cut,
        callsPerSecond: options.rate,
        forMs: options.for * 1000,
        dryRun: options.dryRun === true,
      }),
    )
  drill
    .command('verify')
    .description('whether a report is as the org signed it; exits with 3 when it is not')
    .argument('<file>', 'report.json of a drill')
    .option('--key <spki>', "the org's public key in base64url, so that nobody need be asked")
    .action((file: string, { key }: { readonly key?: string }) => verifyFile(cli(), file, key))
  drill
    .command('ls')
    .description('list the drills that the control plane keeps, the newest first')
    .option('--limit <count>', 'how many, 1 to 1000', numberBetween(1, 1000), 20)
    .option('--cursor <cursor>', 'the nextCursor of the page before')
    .action((options: ListOptions) => list(cli(), options))
  drill
    .command('show')
    .description('one drill, as it was signed')
    .argument('<drillId>', 'as drill ls prints it')
    .action((id: string) => show(cli(), id))
}

function numberBetween(min: number, max: number) {
  return (text: string) => {
    const value = Number(text)
    if (/^\d{1,4}$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`Give a whole number, ${min} to ${max}.`)
  }
}

interface ListOptions {
  readonly limit: number
  readonly cursor?: string
}

async function list(cli: Cli, { limit, cursor }: ListOptions): Promise<void> {
  const page = await cli.operator('see').call(CALLS.drills, { limit, cursor })
  cli.show({
    json: page,
    text: () =>
      page.drills.length === 0
        ? 'No drill was run yet. Run one: holdpoint drill'
        : table(
            page.drills,
            [
              { title: 'DRILL', of: ({ drillId }) => drillId },
              { title: 'WHEN', of: ({ startedAt }) => when(startedAt, cli) },
              { title: 'HELD', of: ({ held }) => (held ? cli.paint.green('yes') : cli.paint.red('NO')) },
              { title: 'STOPPED', of: ({ target }) => target },
              { title: 'STARTED AFTER ACK', of: ({ startedAfterAck }) => startedAfterAck },
              { title: 'ENDED P99 MS', of: ({ endedP99Ms }) => endedP99Ms ?? '-' },
            ],
            cli,
          ),
  })
  if (page.nextCursor !== null && !cli.isJson) cli.note(`There are more: --cursor ${page.nextCursor}`)
}

async function show(cli: Cli, id: string): Promise<void> {
  const { drill } = await cli.operator('see').call(CALLS.drill, { id })
  const { report, attestation } = drill
  const broken = report.steps.some(({ measures }) =>
    measures.some(({ startedAfterAck }) => startedAfterAck > 0),
  )
  cli.show({
    json: drill,
    text: () =>
      [
        `${cli.paint.bold(report.drillId)}  ${report.startedAt}  ${report.target.kind} ${report.target.deviceIds.join(', ')}`,
        ...report.steps.map((step) => stepLine(step, cli)),
        '',
        measureTable(report, cli),
        '',
        verdictLine(report, broken, cli),
        cli.paint.dim(
          `Signed on ${attestation.storedAt}, by ${attestation.storedBy}. Save it with --json > report.json, then: holdpoint drill verify report.json`,
        ),
      ].join('\n'),
  })
}
