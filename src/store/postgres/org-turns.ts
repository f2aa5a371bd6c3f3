import { HoldpointError } from '../../errors.ts'

/** One holds the org's lock, and the next one stands ready behind it. */
const AT_ONCE = 2

/** Runs a body when it is its turn. Throws `STORE_BUSY` when that does not come in time. */
export type OrgTurns = <T>(orgId: string, body: () => Promise<T>) => Promise<T>

/**
 * Changes of one org are made one after the other in any case. Without turns those that wait for the org's lock would
 * hold every connection of this node, and a stop in another org would wait for them.
 */
export function createOrgTurns(waitMs: number): OrgTurns {
  const orgs = new Map<string, { running: number; readonly waiting: Set<() => void> }>()

  const take = async (orgId: string): Promise<void> => {
    let org = orgs.get(orgId)
    if (org === undefined) orgs.set(orgId, (org = { running: 0, waiting: new Set() }))
    if (org.running < AT_ONCE) {
      org.running += 1
      return
    }
    const { waiting } = org
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
    const [next] = org.waiting
    if (next !== undefined) {
      // It takes the place of the one that is done.
      org.waiting.delete(next)
      next()
    } else if (--org.running === 0) orgs.delete(orgId)
  }

  return async (orgId, body) => {
    await take(orgId)
    try {
      return await body()
    } finally {
      pass(orgId)
    }
  }
}

function tooBusy(): HoldpointError {
  return new HoldpointError(
    'STORE_BUSY',
    'So many changes of this org wait that the turn of this one did not come in time. Nothing was changed: ask again.',
  )
}
