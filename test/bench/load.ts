import { once } from 'node:events'

import type { LoadCounts, LoadOptions } from './load-client.ts'
import { end, start, type Forked } from './processes.ts'

export interface Load {
  /** What was answered since the load began, or since this was last asked. */
  readonly count: () => Promise<LoadCounts>
  readonly end: () => Promise<void>
}

/** Validates from many connections, spread over `processes`, as fast as they are answered. */
export async function startLoad(options: LoadOptions & { readonly processes: number }): Promise<Load> {
  const { processes, connections } = options
  const clients: Forked<unknown>[] = []
  for (let client = 0; client < processes; client++) {
    const asked: LoadOptions = { ...options, connections: connections / processes }
    clients.push(await start('load-client.ts', [JSON.stringify(asked)]))
  }
  for (const client of clients) client.process.send({ go: true })
  const countOf = async ({ process: child }: Forked<unknown>) => {
    const answered = once(child, 'message') as Promise<[LoadCounts]>
    child.send({ count: true })
    return (await answered)[0]
  }
  return {
    count: async () => (await Promise.all(clients.map(countOf))).reduce(sum),
    end: async () => {
      await Promise.all(clients.map(end))
    },
  }
}

function sum(one: LoadCounts, other: LoadCounts): LoadCounts {
  const byStatus = { ...one.byStatus }
  for (const [status, count] of Object.entries(other.byStatus)) {
    byStatus[status] = (byStatus[status] ?? 0) + count
  }
  return {
    answers: one.answers + other.answers,
    byStatus,
    broken: one.broken + other.broken,
    seconds: Math.max(one.seconds, other.seconds),
    times: [...one.times, ...other.times],
  }
}
