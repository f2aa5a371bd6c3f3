import { HoldpointError } from '../../errors.ts'

/** One holds the org's lock, and the next one stands ready behind it. */
const AT_ONCE = 2

/**
 * Runs a body when it is its turn; a stop goes before whatever else waits, so that no flood of an org's own agents keeps
 * it waiting. Throws `STORE_BUSY` when the turn does not come in time.
 */
export type OrgTurns = <T>(
  turn: { readonly orgId: string; readonly isStop?: boolean | undefined },
  body: () => Promise<T>,
) => Promise<T>

interface OrgQueue {
  running: number
  /** In their order. */
  readonly stops: Set<() => void>
  readonly others: Set<() => void>
}

/**
 * Changes of one org are made one after the other in any case. Without turns those that wait for the org's lock would
 * hold every connection of this node, and a stop in another org would wait for them.
 */
export function createOrgTurns(waitMs: number): OrgTurns {
  const orgs = new Map<string, OrgQueue>()

  const take: (turn: Parameters<OrgTurns>[0]) => Promise<void> = async ({ orgId, isStop = false }) => {
    let org = orgs.get(orgId)
    if (org === undefined) orgs.set(orgId, (org = { running: 0, stops: new Set(), others: new Set() }))
    if (org.running < AT_ONCE) {
      org.running += 1
      return
    }
    const waiting = isStop ? org.stops : org.others
    const turn = Promise.withResolvers<void>()
    waiting.add(turn.resolve)
    const timer = setTimeout(() => {
      waiting.delete(turn.resolve)
      turn.reject(tooBusy())
    }, waitMs)
    try {
      await turn.promise
    } finally {
      clearTimeout(timer)
    }
  }

  const pass = (orgId: string): void => {
    const org = orgs.get(orgId)
    if (org === undefined) return
    const waiting = org.stops.size > 0 ? org.stops : org.others
    const [next] = waiting
    if (next !== undefined) {
      // It takes the place of the one that is done.
      waiting.delete(next)
      next()
    } else if (--org.running === 0) orgs.delete(orgId)
  }

  return async (turn, body) => {
    await take(turn)
    try {
      return await body()
    } finally {
      pass(turn.orgId)
    }
  }
}

function tooBusy(): HoldpointError {
  return new HoldpointError(
    'STORE_BUSY',
    'So many changes of this org wait that the turn of this one did not come in time. Nothing was changed: ask again.',
  )
}
