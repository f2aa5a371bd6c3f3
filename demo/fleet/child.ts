// One process of the fleet, with many replicas: `child.ts JSON`. It does what its parent asks, and ends with it.
import { createMemoryJournal } from 'holdpoint'
import { createBook, type Question } from './book.ts'
import { serveRemote } from './remote.ts'
import { startReplica, type Replica } from './replica.ts'
import { createSink } from './sink.ts'
import type { ReplicaSpec } from './topology.ts'

export interface ChildSettings {
  readonly url: string
  readonly key: string
  readonly paceMs: number
  readonly forgets: boolean
  /** Each replica has a process of its own. */
  readonly alone: boolean
}
export type ChildApi = typeof api

/** How a replica answered at its startup boundary. */
export interface StartedUp {
  readonly deviceId: string
  readonly allowed: boolean
  readonly code: string
}

const STARTED_AT_ONCE = 8
const settings = JSON.parse(process.argv[2] ?? '{}') as ChildSettings
// Shared, as replicas share a database: a unit is known wherever it is tried again.
const journal = createMemoryJournal()
const book = createBook()
const sink = createSink()
const replicas = new Map<string, Replica>()

async function start(spec: ReplicaSpec): Promise<StartedUp> {
  const replica = await startReplica(spec, { ...settings, journal, book, sink })
  const { allowed, code } = replica
  if (allowed) replicas.set(spec.deviceId, replica)
  return { deviceId: spec.deviceId, allowed, code }
}

const api = {
  start: (specs: readonly ReplicaSpec[]) => inParts(specs, start),
  /** How many work. */
  working: () => replicas.size,
  /** Those of them that are here end, in good order: units in hand settle. */
  end: async (deviceIds: readonly string[]) => {
    await inParts(deviceIds, async (deviceId) => {
      const replica = replicas.get(deviceId)
      replicas.delete(deviceId)
      await replica?.close()
    })
  },
  /** A stop was acked. */
  told: () => book.told(),
  look: (question: Question) => book.look(question),
  counts: () => sink.counts(),
}

async function inParts<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const worker = async () => {
    for (let at = next++; at < all.length; at = next++) results[at] = await work(all[at] as T)
  }
  await Promise.all(Array.from({ length: STARTED_AT_ONCE }, worker))
  return results
}

serveRemote(api)
// Ctrl-C is for the parent, which ends this process in its turn.
process.on('SIGINT', () => {})
