import type { DrillRunBody } from '../../machineid/wire-drills.ts'
import type { SharedClock } from './store-clock.ts'

// What nodes that share a store know of each other, and what they count together. Times are those of the store.

/** One process that answers for the store. */
export interface NodeRecord {
  readonly nodeId: string
  readonly host: string
  readonly pid: number
  readonly version: string
  readonly startedAtMs: number
  readonly heardAtMs: number
}

/** A node is dead when nothing was heard of it for so long. */
export const NODE_DEAD_MS = 15_000

export interface NodeRegistry {
  /** Of this process, new with each start. */
  readonly nodeId: string
  /** Notes that this node lives; answers all that do, this one too, by id. */
  readonly heartbeat: (node: Pick<NodeRecord, 'host' | 'pid' | 'version'>) => Promise<readonly NodeRecord[]>
  /** This one is not one of them any more. */
  readonly leaveNodes: () => Promise<void>
}

/** What one node does for all. */
export interface Chores {
  /** Undefined while another node does them. Whoever has them keeps them for 10 s after it last asked. */
  readonly takeChores: () => Promise<{ readonly remindedUntilMs: number } | undefined>
  /** Notes which reminders were told, for whichever node goes on. */
  readonly noteReminded: (untilMs: number) => Promise<void>
  readonly leaveChores: () => Promise<void>
  /** Deletes up to `limit` of each kind of what is of no more use here. */
  readonly pruneNodes: (limit: number) => Promise<void>
}

/** That many at once, then so many a second. One that nobody touched for an hour is full. */
export interface TokenBucket {
  /** What is limited. */
  readonly name: string
  /** For whom. */
  readonly id: string
  readonly burst: number
  readonly perSecond: number
}

/** Each is one statement, exact however many ask at once. */
export interface LimitStore {
  /** Takes one token: 0, or how many milliseconds until there is one. */
  readonly takeToken: (bucket: TokenBucket) => Promise<number>
  /** True, and counted, while the address was sent fewer than `atMost` within `withinMs`, an hour at most. */
  readonly takeMail: (
    address: string,
    limit: { readonly atMost: number; readonly withinMs: number },
  ) => Promise<boolean>
}

/** How many decisions of an org fell into a cell of `RATE_CELLS`, in whole minutes since 1970. */
export interface RateRow {
  readonly orgId: string
  readonly minute: number
  readonly cell: number
  readonly count: number
}

export interface RateStore {
  /** Whatever is decided from now on is counted. */
  readonly beginRates: () => Promise<void>
  /** One statement. */
  readonly addRates: (rows: readonly RateRow[]) => Promise<void>
  /** By minute and cell. `sinceMs`: from then on they are complete. */
  readonly ratesOf: (
    orgId: string,
    fromMinute: number,
  ) => Promise<{ readonly sinceMs: number; readonly rows: readonly RateRow[] }>
}

/** One drill at a time of an org, whichever node runs it. A drill that nothing was heard of for 15 s is over. */
export interface DrillRunStore {
  /** False while another one runs. What was told of the one before is told until then. */
  readonly claimDrillRun: (orgId: string, runId: string) => Promise<boolean>
  /** Says what is told of it, and that it goes on or has ended. False when it does not run any more as far as others know. */
  readonly tellDrillRun: (orgId: string, runId: string, run: DrillRunBody) => Promise<boolean>
  /** It came to nothing. */
  readonly releaseDrillRun: (orgId: string, runId: string) => Promise<void>
  /** `lostAtMs`: when its node was heard of last, of one that is over because of that. */
  readonly findDrillRun: (
    orgId: string,
  ) => Promise<{ readonly run: DrillRunBody; readonly lostAtMs: number | undefined } | undefined>
}

export interface NodeStore extends SharedClock, NodeRegistry, Chores, LimitStore, RateStore, DrillRunStore {}
