import { HoldpointError } from '../../errors.ts'

/** Of one org: one holds its lock, and the next one stands ready behind it. */
export const TURNS_AT_ONCE = 2

/**
 * Runs a body when it is its turn; a stop goes before whatever else waits, so that no flood of agents keeps it waiting.
 * Throws `STORE_BUSY` when the turn does not come in time.
 */
export type OrgTurns = <T>(turn: Turn, body: () => Promise<T>) => Promise<T>

interface Turn {
  readonly orgId: string
  readonly isStop?: boolean | undefined
}

interface OrgQueue {
  running: number
  /** In their order. */
  readonly stops: Set<() => void>
  readonly others: Set<() => void>
}

/**
 * Changes of one org are made one after the other in any case. Without turns those that wait for the org's lock would
 * hold every connection of this node, and a stop in another org would wait for them. While a synchronous standby is gone
 * each change holds its connection until it is given up: so what is no stop never has more than `mostOthers` of them, in
 * all orgs together, which take turns.
 */
export function createOrgTurns({ waitMs, mostOthers }: OrgTurnsOptions): OrgTurns {
  const orgs = new Map<string, OrgQueue>()
  let others = 0

  const hasRoom = ({ running }: OrgQueue, isStop: boolean) =>
    running < TURNS_AT_ONCE && (isStop || others < mostOthers)
  const count = (org: OrgQueue, isStop: boolean, by: 1 | -1) => {
    org.running += by
    if (!isStop) others += by
  }
  const forgetIdle = (orgId: string, { running, stops, others: rest }: OrgQueue) => {
    if (running + stops.size + rest.size === 0) orgs.delete(orgId)
  }

  const take = async ({ orgId, isStop = false }: Turn): Promise<void> => {
    const org = orgs.get(orgId) ?? { running: 0, stops: new Set(), others: new Set() }
    orgs.set(orgId, org)
    if (hasRoom(org, isStop)) return count(org, isStop, 1)
    const waiting = isStop ? org.stops : org.others
    const turn = Promise.withResolvers<void>()
    waiting.add(turn.resolve)
    const timer = setTimeout(() => {
      waiting.delete(turn.resolve)
      forgetIdle(orgId, org)
      turn.reject(tooBusy())
    }, waitMs)
    try {
      await turn.promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** Counted before it runs, so that nobody else takes its place. */
  const begin = (org: OrgQueue, isStop: boolean): boolean => {
    const waiting = isStop ? org.stops : org.others
    const [next] = waiting
    if (next === undefined || !hasRoom(org, isStop)) return false
    waiting.delete(next)
    count(org, isStop, 1)
    next()
    return true
  }

  const pass = ({ orgId, isStop = false }: Turn): void => {
    const org = orgs.get(orgId)
    if (org === undefined) return
    count(org, isStop, -1)
    begin(org, true)
    for (const [id, each] of orgs) {
      if (others >= mostOthers) break
      if (!begin(each, false)) continue
      // The other orgs come before its next one.
      orgs.delete(id)
      orgs.set(id, each)
    }
    forgetIdle(orgId, org)
  }

  return async (turn, body) => {
    await take(turn)
    try {
      return await body()
    } finally {
      pass(turn)
    }
  }
}

interface OrgTurnsOptions {
  readonly waitMs: number
  /** At least one. */
  readonly mostOthers: number
}

function tooBusy(): HoldpointError {
  return new HoldpointError(
    'STORE_BUSY',
    'So many changes wait that the turn of this one did not come in time. Nothing was changed: ask again.',
  )
}
