import { CALLS } from '../machineid/calls.ts'
import type { ReplicaBody } from '../machineid/wire-stops.ts'
import type { Cli, Commands, Paint } from './cli.ts'
import { milliseconds } from './doctor-facts.ts'
import { table } from './table.ts'
import { when } from './times.ts'

/** The processes that ask for permission, as the authority sees them. */
export const replicasCommands: Commands = (program, cli) => {
  program
    .command('replicas')
    .description('the processes that ask, and whether stops reach them')
    .command('ls')
    .description('list them')
    .action(() => list(cli()))
}

async function list(cli: Cli): Promise<void> {
  const answer = await cli.operator('see').call(CALLS.replicas, {})
  cli.show({
    json: answer,
    text: () =>
      answer.replicas.length === 0 && cli.columns !== undefined ? NONE : replicaTable(answer.replicas, cli),
  })
}

const NONE = 'No process has asked of late.'

function replicaTable(replicas: readonly ReplicaBody[], cli: Cli): string {
  return table(
    replicas,
    [
      { title: 'REPLICA', of: ({ replica }) => replica },
      { title: 'STOPS', of: (replica) => streamOf(replica, cli.paint) },
      { title: 'LAST SEEN', of: ({ lastSeenAt }) => when(lastSeenAt, cli) },
      { title: 'IN FLIGHT', of: inFlightOf },
      { title: 'KEY', of: ({ keyKind }) => (keyKind === 'runtime' ? keyKind : cli.paint.yellow(keyKind)) },
      {
        title: 'ANSWERED IN',
        of: ({ latencyMs }) => (latencyMs === null ? '-' : milliseconds(latencyMs.p99)),
      },
      { title: 'LAST DENIED', of: ({ lastDenied }) => lastDenied?.code ?? '-' },
      { title: 'AT', of: ({ lastDenied }) => when(lastDenied?.at ?? null, cli) },
    ],
    cli,
  )
}

/** `listens`, `asks only`, or `silent`. */
function streamOf({ stream, silent }: Pick<ReplicaBody, 'stream' | 'silent'>, paint: Paint): string {
  if (stream === 'up') return paint.green('listens')
  return silent ? paint.red('silent') : paint.yellow('asks only')
}

/** A call counts for its server device and for that of its surface: the busiest says how many there are. */
export function inFlightOf({ devices }: Pick<ReplicaBody, 'devices'>): number {
  return Math.max(0, ...devices.map(({ inFlight }) => inFlight))
}
