import { fork } from 'node:child_process'
import { join } from 'node:path'
import type { Question, Seen } from './book.ts'
import type { ChildApi, ChildSettings, StartedUp } from './child.ts'
import { remoteOf } from './remote.ts'
import type { SinkCounts } from './sink.ts'
import type { ReplicaSpec } from './topology.ts'

/** The processes that carry a topology, as one. */
export interface Processes {
  /** How each answered at its startup boundary. Those that were allowed work from then on. */
  readonly start: (specs: readonly ReplicaSpec[]) => Promise<readonly StartedUp[]>
  readonly working: () => Promise<number>
  /** They leave in good order. */
  readonly end: (deviceIds: readonly string[]) => Promise<void>
  /** Resolves when every process has been told that a stop was acked. */
  readonly told: () => Promise<void>
  readonly look: (question: Question) => Promise<{ readonly hit: Seen; readonly others: Seen }>
  readonly counts: () => Promise<SinkCounts>
  readonly close: () => Promise<void>
}

export function startProcesses(count: number, settings: ChildSettings): Processes {
  const children = Array.from({ length: count }, () =>
    fork(join(import.meta.dirname, 'child.ts'), [JSON.stringify(settings)], {
      execArgv: ['--conditions=holdpoint-source'],
    }),
  )
  const remotes = children.map((child) => remoteOf<ChildApi>(child))
  const all = <T>(ask: (remote: (typeof remotes)[number], index: number) => Promise<T>) =>
    Promise.all(remotes.map(ask))
  return {
    start: async (specs) => {
      const share = (index: number) => specs.filter((_, at) => at % count === index)
      return (await all((ask, index) => ask('start', share(index)))).flat()
    },
    working: async () => (await all((ask) => ask('working'))).reduce((sum, one) => sum + one, 0),
    end: async (deviceIds) => void (await all((ask) => ask('end', deviceIds))),
    told: async () => void (await all((ask) => ask('told'))),
    look: async (question) => {
      const seen = await all((ask) => ask('look', question))
      return { hit: merged(seen.map(({ hit }) => hit)), others: merged(seen.map(({ others }) => others)) }
    },
    counts: async () => summed(await all((ask) => ask('counts'))),
    close: async () => {
      await Promise.all(
        children.map(async (child) => {
          if (child.exitCode !== null || child.signalCode !== null) return
          const ended = new Promise((resolve) => child.once('exit', resolve))
          child.disconnect()
          await ended
        }),
      )
    },
  }
}

function merged(all: readonly Seen[]): Seen {
  const sum = (of: (seen: Seen) => number) => all.reduce((whole, one) => whole + of(one), 0)
  const codes: Record<string, number> = {}
  for (const [code, count] of all.flatMap((one) => Object.entries(one.codes)))
    codes[code] = (codes[code] ?? 0) + count
  return {
    entries: sum((one) => one.entries),
    denied: sum((one) => one.denied),
    started: sum((one) => one.started),
    starts: sum((one) => one.starts),
    startsBefore: sum((one) => one.startsBefore),
    inFlight: sum((one) => one.inFlight),
    inFlightMs: Math.max(...all.map((one) => one.inFlightMs)),
    startsSinceTold: sum((one) => one.startsSinceTold),
    deniedAfterMs: all.flatMap((one) => one.deniedAfterMs),
    startedAfterMs: all.flatMap((one) => one.startedAfterMs),
    codes,
    unanswered: sum((one) => one.unanswered),
    requestId: all.find((one) => one.requestId !== undefined)?.requestId,
  }
}

function summed(all: readonly SinkCounts[]): SinkCounts {
  const sum = (of: (counts: SinkCounts) => number) => all.reduce((whole, one) => whole + of(one), 0)
  return {
    effects: sum((one) => one.effects),
    retried: sum((one) => one.retried),
    replayed: sum((one) => one.replayed),
    resumed: sum((one) => one.resumed),
    unknown: sum((one) => one.unknown),
    twice: sum((one) => one.twice),
  }
}
