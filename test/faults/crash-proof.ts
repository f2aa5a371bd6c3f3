import { randomBytes } from 'node:crypto'
import { mkdtemp, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { CRASH_POINTS, type CrashPoint } from '../../src/guard/crash-points.ts'
import { createCallerToken } from '../../src/tool-server/callers.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import type { TestPostgres } from '../fixtures/postgres.ts'
import { randomFrom } from '../fixtures/random.ts'
import { countPoints, newTally, playRound, type RoundOptions, type Tally } from './crash-round.ts'
import { createCrashServer } from './crash-server.ts'
import { startSinks } from './sinks.ts'

export interface ProofOptions {
  readonly points?: readonly CrashPoint[]
  readonly rounds: number
  readonly seed: number
  /** Stop it in the middle and let it go on when the next one is at work, instead of killing it. Default false. */
  readonly stops?: boolean
  /** Servers at work at once, each with a file of its own. Default 2. */
  readonly workers?: number
  /** Gives each of them a database of Postgres, with a table `public.bookings`. Default: a SQLite file. */
  readonly createDatabase?: () => Promise<string>
  readonly onRound?: (done: number, of: number, problems: readonly string[]) => void
}

export type ProofResult = ReadonlyMap<CrashPoint, Tally>

/** In the middle of a transaction: whoever stands still there holds the database, and nobody takes over. */
const LOCKED: ReadonlySet<CrashPoint> = new Set(['effect.intent_writing', 'run.saving', 'approval.deciding'])

interface Job {
  readonly point: CrashPoint
  readonly round: number
}

/** Kills a real tool server `rounds` times at each point, and adds up what the sinks and the journal say. */
export async function proveCrashes(options: ProofOptions): Promise<ProofResult> {
  const { rounds, seed, stops = false, workers = 2, onRound } = options
  const points = (options.points ?? CRASH_POINTS).filter((point) => !stops || !LOCKED.has(point))
  const dir = await mkdtemp(join(tmpdir(), 'holdpoint-crash-'))
  await using authority = await startTestControlPlane()
  await using sinks = await startSinks()
  const agent = createCallerToken({ name: 'agent', scopes: ['runs:start', 'runs:resume'] })
  const approver = createCallerToken({ name: 'approver', scopes: ['runs:approve', 'runs:resume'] })
  const tokens = { agent: agent.token, approver: approver.token }
  const stateKeyHex = randomBytes(32).toString('hex')

  const jobs = points.flatMap((point) =>
    Array.from({ length: rounds }, (_, round): Job => ({ point, round })),
  )
  const waiting = [...jobs]
  const result = new Map(points.map((point) => [point, newTally()]))
  let done = 0

  const work = async (worker: number) => {
    const own = join(dir, `worker-${worker}`)
    await mkdir(own)
    const databaseUrl = await options.createDatabase?.()
    await using server = createCrashServer({
      dir: own,
      databaseUrl,
      orgKey: authority.keys.runtime,
      authorityUrl: authority.url,
      sinksUrl: sinks.url,
      stateKeyHex,
      callers: [agent.record, approver.record],
    })
    const round = { server, sinks, tokens, stops }
    await server.start(0)
    const dry: RoundOptions = { ...round, name: `dry-${worker}`, random: randomFrom(seed), tally: newTally() }
    const reached = await countPoints(dry)
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const { point } = job
      const times = reached.get(point) ?? 0
      const random = randomFrom(seedOf(seed, job))
      const tally = newTally()
      const nth = 1 + random.int(Math.max(times, 1))
      const name = `${point.replace(/\W/g, '-')}-${job.round}`
      await playRound(point, nth, { ...round, name, random, tally })
      add(result.get(point) as Tally, tally, `round ${job.round}, hit ${nth} of ${times}`)
      onRound?.(++done, jobs.length, tally.problems)
    }
  }
  try {
    const ends = await Promise.allSettled(Array.from({ length: workers }, (_, worker) => work(worker)))
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  return result
}

export async function createBookedDatabase(server: TestPostgres): Promise<string> {
  const url = await server.createDatabase()
  await server.query(url, 'CREATE TABLE public.bookings (invoice TEXT NOT NULL)')
  return url
}

/** A round's own, whatever ran before it. */
function seedOf(seed: number, { point, round }: Job): number {
  return (seed + CRASH_POINTS.indexOf(point) * 7919 + round * 104_729) >>> 0
}

function add(total: Tally, { problems, ...counts }: Tally, where: string): void {
  for (const [name, count] of Object.entries(counts) as [keyof typeof counts, number][]) total[name] += count
  total.problems.push(...problems.map((problem) => `${where}: ${problem}`))
}
