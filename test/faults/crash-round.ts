import { setTimeout as sleep } from 'node:timers/promises'

import { CRASH_POINTS, type CrashPoint } from '../../src/guard/crash-points.ts'
import { randomFrom, type Random } from '../fixtures/random.ts'
import { BOOKING, NOTICE, PAY_IDEMPOTENT, PAY_PLAIN } from './crash-agent.ts'
import {
  duplicates,
  lies,
  listedUnknown,
  readBooks,
  settleByTruth,
  uncertain,
  type CheckOptions,
} from './crash-check.ts'
import { drive, type DriveTally, type Task, type Tokens } from './crash-drive.ts'
import { ServerDied, type CrashServer } from './crash-server.ts'
import type { Sinks } from './sinks.ts'

export interface Tally extends DriveTally {
  crashes: number
  runs: number
  chargesIdempotent: number
  chargesPlain: number
  /** Charges that the idempotent sink recognised and did not make again. */
  repeats: number
  /** Approvals that were too old after the restart, and were asked for anew. */
  expired: number
  duplicatesIdempotent: number
  duplicatesPlain: number
  duplicateBookings: number
  duplicateNotices: number
  /** Listed for the operator once nothing moved any more. */
  unknownIdempotent: number
  unknownPlain: number
  unknownNotices: number
  unknownBookings: number
  /** Uncertain in the journal, and not listed. */
  hidden: number
  /** What failed, in words. Empty: the round is good. */
  readonly problems: string[]
}

export function newTally(): Tally {
  return {
    crashes: 0,
    runs: 0,
    lost: 0,
    hung: 0,
    lostUnlisted: 0,
    busy: 0,
    chargesIdempotent: 0,
    chargesPlain: 0,
    repeats: 0,
    expired: 0,
    duplicatesIdempotent: 0,
    duplicatesPlain: 0,
    duplicateBookings: 0,
    duplicateNotices: 0,
    unknownIdempotent: 0,
    unknownPlain: 0,
    unknownNotices: 0,
    unknownBookings: 0,
    hidden: 0,
    problems: [],
  }
}

export interface RoundOptions {
  /** Unique: names the round's runs and invoices. */
  readonly name: string
  readonly server: CrashServer
  readonly sinks: Sinks
  readonly tokens: Tokens
  readonly random: Random
  readonly tally: Tally
  /** It stands still at the point, and comes to while the next one is at work. Else it is killed. */
  readonly stops: boolean
}

/** Leases and deadlines pass within the first, approvals only within the second. */
const MINUTE_MS = 60_000
const LONG_MS = 20 * MINUTE_MS
const SHORT_MS = 2 * MINUTE_MS
/** How long one that stood still may sleep on while the next one is at work. */
const LATE_MS = 600

/** The two of invoice 1 try to pay the same at once: the same business key from two runs. */
function tasksOf(name: string, books: boolean): Task[] {
  const task = (id: string, invoice: number, special: Partial<Task> = {}): Task => ({
    invoice: `${name}-${invoice}`,
    announces: false,
    books,
    background: false,
    declinesPlain: false,
    ...special,
    runIds: [`${name}-${id}`],
  })
  return [
    task('a', 1),
    task('b', 2, { background: true, announces: true }),
    task('c', 3, { declinesPlain: true }),
    task('d', 1, { background: true }),
  ]
}

/** A booking happens inside of a transaction: whoever stands still there holds the database, and nobody takes over. */
function mayBook(point: CrashPoint, stops: boolean): boolean {
  return !stops || (point !== 'effect.allowed' && point !== 'effect.performed')
}

/** How often each point is reached when nothing crashes. */
export async function countPoints(options: RoundOptions): Promise<ReadonlyMap<CrashPoint, number>> {
  const { name, stops } = options
  const booking = await countReached({ ...options, name: `${name}-all` }, true)
  const without = stops ? await countReached({ ...options, name: `${name}-few` }, false) : booking
  const reached = (point: CrashPoint) => (mayBook(point, stops) ? booking : without)[point] ?? 0
  return new Map(CRASH_POINTS.map((point) => [point, reached(point)]))
}

async function countReached(options: RoundOptions, books: boolean) {
  const { server, name } = options
  await server.arm(undefined)
  await driveAll(tasksOf(name, books), options)
  if (server.hasEnded()) throw new Error('It ended without being told to.')
  return server.reached()
}

/** A crash at `point`, a restart, everything resumed, and what the sinks say then. */
export async function playRound(point: CrashPoint, nth: number, options: RoundOptions): Promise<void> {
  const { server, random, tally, stops } = options
  const tasks = tasksOf(options.name, mayBook(point, stops))
  await server.arm({ point, nth, signal: stops ? 'SIGSTOP' : 'SIGKILL' })
  if (await crashes(point, tasks, options)) {
    tally.crashes += 1
    await server.start(random.chance(0.15) ? LONG_MS : SHORT_MS)
    const late = random.int(LATE_MS)
    await Promise.all([driveAll(tasks, options), sleep(late).then(server.wakeStopped)])
  } else {
    tally.problems.push(`${point} was not reached ${nth} times`)
    await server.arm(undefined)
  }
  await checkRound({ ...options, tasks })
  if (server.hasEnded()) tally.problems.push('it ended without being told to')
}

/** Drives the tasks until the server has crashed; false when they have ended and it has not. */
async function crashes(point: CrashPoint, tasks: readonly Task[], options: RoundOptions): Promise<boolean> {
  const { server } = options
  const before = server.crashes().length
  const driven = new AbortController()
  const crashed = server.crashed(before, driven.signal)
  await driveAll(tasks, options)
  driven.abort()
  await crashed
  return server.crashes().slice(before).join() === point
}

/** Drives them all at once, to their end or to the server's. */
async function driveAll(tasks: readonly Task[], options: RoundOptions): Promise<void> {
  const driven = await Promise.allSettled(
    tasks.map((task) => drive(task, { ...options, random: randomFrom(options.random.int(2 ** 32)) })),
  )
  for (const { reason } of driven.filter((one) => one.status === 'rejected')) {
    // oxlint-disable-next-line typescript/only-throw-error -- what a driver threw
    if (!(reason instanceof ServerDied)) throw reason
  }
}

async function checkRound(options: RoundOptions & CheckOptions): Promise<void> {
  const { tally, tasks } = options
  const problem = (text: string) => tally.problems.push(text)
  const afterCrash = await readBooks(options)
  for (const text of [...lies(afterCrash), ...afterCrash.unapproved]) problem(text)
  const listed = await listedUnknown(options)
  const doubtful = uncertain(afterCrash)
  for (const id of doubtful.filter((one) => !listed.has(one))) {
    tally.hidden += 1
    problem(`uncertain, and not listed as unknown: ${id}`)
  }
  const effects = doubtful.flatMap((id) => listed.get(id) ?? [])
  const unknown = (effect: string) => effects.filter((one) => one.effect === effect).length
  tally.unknownIdempotent += unknown(PAY_IDEMPOTENT)
  tally.unknownPlain += unknown(PAY_PLAIN)
  tally.unknownNotices += unknown(NOTICE)
  tally.unknownBookings += unknown(BOOKING)

  await settleByTruth(effects, options)
  const left = [...(await listedUnknown(options)).keys()].filter((id) => doubtful.includes(id))
  if (left.length > 0) problem(`still unknown after it was settled: ${left.join(', ')}`)

  // Whoever asks once more finds each payment made, or can make it now that its key is free.
  const again = tasks
    .slice(0, 3)
    .map((task) => ({ ...task, announces: false, runIds: [`${task.runIds[0]}-again`] }))
  await driveAll(again, options)
  await countEnd({ ...options, tasks: [...tasks, ...again] })
  tally.runs += [...tasks, ...again].reduce((sum, { runIds }) => sum + runIds.length, 0)
  for (const runId of [...tasks, ...again].flatMap((task) => task.runIds)) {
    const { body } = await options.server.call(options.tokens.approver, 'GET', `/runs/${runId}`)
    if (body.status === 'completed' || body.error?.code === 'RUN_LOST') continue
    problem(`${runId} did not stay as it had ended: ${JSON.stringify(body.error ?? body.status)}`)
  }
  if (tally.hung > 0) problem('a run neither ended nor could be resumed')
  if (tally.lostUnlisted > 0) problem('a lost run does not list what it did')
}

/** Everything has ended: the journal and the sinks agree, and each invoice is paid once where it was approved. */
async function countEnd(options: RoundOptions & CheckOptions): Promise<void> {
  const { tally, tasks, sinks } = options
  const books = await readBooks(options)
  const problem = (text: string) => tally.problems.push(text)
  for (const text of [...lies(books), ...books.unapproved]) problem(text)
  for (const id of uncertain(books)) problem(`uncertain at the end: ${id}`)
  const paid = { [PAY_IDEMPOTENT]: 0, [PAY_PLAIN]: 0 }
  for (const effect of [PAY_IDEMPOTENT, PAY_PLAIN] as const) {
    const made = new Set(books.invoices.get(effect))
    paid[effect] = books.invoices.get(effect)?.length ?? 0
    for (const { invoice, declinesPlain } of tasks) {
      const wanted = effect === PAY_IDEMPOTENT || !declinesPlain
      if (made.has(invoice) !== wanted)
        problem(`${effect} of ${invoice}: ${wanted ? 'missing' : 'declined, but made'}`)
    }
  }
  const invoices = new Set(tasks.map(({ invoice }) => invoice))
  tally.chargesIdempotent += paid[PAY_IDEMPOTENT]
  tally.chargesPlain += paid[PAY_PLAIN]
  tally.expired += books.expired
  tally.repeats += sinks.repeats.filter(({ invoice }) => invoices.has(invoice)).length
  const twice = {
    duplicatesIdempotent: duplicates(books, PAY_IDEMPOTENT),
    duplicatesPlain: duplicates(books, PAY_PLAIN),
    duplicateBookings: duplicates(books, BOOKING),
    duplicateNotices: duplicates(books, NOTICE),
  }
  for (const [name, count] of Object.entries(twice) as [keyof typeof twice, number][]) {
    tally[name] += count
    if (count > 0) problem(`${name}: ${count}`)
  }
}
