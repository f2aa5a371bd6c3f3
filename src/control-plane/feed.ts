import {
  changeEntry,
  decisionEntry,
  fits,
  overdueEntry,
  type FeedEntry,
  type FeedFilter,
} from './feed-events.ts'
import { createOpenStreams, type OpenStreams } from './open-streams.ts'
import type { AuditRow, DecisionRecord } from './records.ts'
import type { OverdueStop } from './store.ts'

const HEARTBEAT_MS = 15_000
/** How many events are told in one turn of the event loop, and for how long, so that no stop waits for more. */
const SLICE_EVENTS = 100
const SLICE_MS = 5
/** More that are not told yet, and whoever listens to the org with most is cut: he can come back for what he missed. */
const MAX_WAITING = 20_000

export interface Subscriber {
  readonly orgId: string
  readonly filter: FeedFilter
  /** Gets what fits, in its order. */
  readonly send: (entries: readonly FeedEntry[]) => void
  /** Called now and then, so that a stream that has nothing to say is known to be alive. */
  readonly beat: () => void
  /** There is more to tell than can be told. */
  readonly cut: () => void
}

/** What happens, to whoever is listening. Costs nothing while nobody is. */
export interface Feed {
  /** Told of every change after COMMIT. */
  readonly committed: (rows: readonly AuditRow[]) => void
  /** Told of decisions once they are stored. */
  readonly decided: (decisions: readonly DecisionRecord[]) => void
  readonly overdue: (stop: OverdueStop) => void
  /** Of which somebody hears. */
  readonly orgs: () => ReadonlySet<string>
  /** Some of it cannot be told: cuts everybody, who come back for what they missed. */
  readonly lost: () => void
  /** From now on. Answers how to end it. */
  readonly subscribe: (subscriber: Subscriber) => () => void
  readonly streams: OpenStreams
  /** Ends every stream. */
  readonly close: () => void
}

export function createFeed(options: {
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
  /** Default 15,000. */
  readonly heartbeatMs?: number | undefined
}): Feed {
  const { nowMs, heartbeatMs = HEARTBEAT_MS } = options
  const streams = createOpenStreams({ nowMs })
  const byOrg = new Map<string, Set<Subscriber>>()
  let waiting: Told[] = []
  let delivering = false
  let heart: NodeJS.Timeout | undefined

  const beat = () => {
    for (const subscribers of byOrg.values()) for (const subscriber of subscribers) subscriber.beat()
  }
  const giveUp = (given: string) => {
    waiting = waiting.filter(({ orgId }) => orgId !== given)
    for (const subscriber of byOrg.get(given) ?? []) subscriber.cut()
  }
  const deliver = async () => {
    while (waiting.length > 0) {
      await streams.turn()
      let untilMs = performance.now() + SLICE_MS
      for (const [orgId, told] of byOrgOf(waiting.splice(0, SLICE_EVENTS))) {
        const entries = told.map(({ entry }) => entry())
        for (const { filter, send } of byOrg.get(orgId) ?? []) {
          const fitting = entries.filter(({ event }) => fits(filter, event))
          if (fitting.length > 0) send(fitting)
          if (performance.now() < untilMs) continue
          await streams.turn()
          untilMs = performance.now() + SLICE_MS
        }
      }
    }
    delivering = false
  }
  const publish = <T extends { readonly orgId: string }>(
    records: readonly T[],
    entryOf: (record: T) => FeedEntry,
  ) => {
    if (byOrg.size === 0) return
    for (const record of records) {
      if (byOrg.has(record.orgId)) waiting.push({ orgId: record.orgId, entry: () => entryOf(record) })
    }
    while (waiting.length > MAX_WAITING) giveUp(mostOf(waiting))
    if (delivering || waiting.length === 0) return
    delivering = true
    void deliver()
  }
  const unsubscribe = (subscriber: Subscriber) => {
    const subscribers = byOrg.get(subscriber.orgId)
    subscribers?.delete(subscriber)
    if (subscribers?.size === 0) byOrg.delete(subscriber.orgId)
    if (byOrg.size > 0) return
    clearInterval(heart)
    heart = undefined
  }

  return {
    committed: (rows) => {
      // A burned key hears nothing more, not even of its end.
      streams.committed(rows)
      publish(rows, changeEntry)
    },
    decided: (decisions) => publish(decisions, decisionEntry),
    overdue: (stop) => publish([stop], overdueEntry),
    orgs: () => new Set(byOrg.keys()),
    lost: () => {
      for (const orgId of byOrg.keys()) giveUp(orgId)
    },
    subscribe: (subscriber) => {
      const { orgId } = subscriber
      byOrg.set(orgId, (byOrg.get(orgId) ?? new Set()).add(subscriber))
      heart ??= setInterval(beat, heartbeatMs).unref()
      return () => unsubscribe(subscriber)
    },
    streams,
    close: () => streams.close(),
  }
}

interface Told {
  readonly orgId: string
  readonly entry: () => FeedEntry
}

/** The org that most of it is of. */
function mostOf(told: readonly Told[]): string {
  const [first] = [...byOrgOf(told)].toSorted(([, a], [, b]) => b.length - a.length)
  return first?.[0] ?? ''
}

function byOrgOf(told: readonly Told[]): Map<string, Told[]> {
  return Map.groupBy(told, ({ orgId }) => orgId)
}
