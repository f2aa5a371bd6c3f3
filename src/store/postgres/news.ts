import type { NodeNews } from '../../control-plane/nodes/shared-store.ts'
import type { DecisionRecord } from '../../control-plane/records.ts'
import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import { addNews, pruneNews, type NewDecisions } from './news-rows.ts'
import { createNewsTail } from './news-tail.ts'
import { withoutStandby } from './without-standby.ts'

/** A node that was cut off for longer sends its streams away, and they come back for what they missed. */
const KEPT_SECONDS = 600
const PRUNE_EVERY_MS = 60_000
const MAX_NAMED_ORGS = 20

export interface News extends NodeNews {
  /** In the transaction that adds these rows to an org's chain, after it has locked the org. */
  readonly note: (session: Session, orgId: string, firstSeq: number, lastSeq: number) => Promise<void>
  /** In the transaction that stores them. */
  readonly noteDecisions: (session: Session, decisions: readonly DecisionRecord[]) => Promise<void>
  /**
   * After the COMMIT of what was noted: other nodes are notified, on a connection that waits for no disk. In the
   * transaction itself a notification would let only one change of the whole server commit at a time.
   */
  readonly committed: () => void
  readonly close: () => Promise<void>
}

/** Rejects when the database cannot be reached now; later it may come and go. */
export async function openNews(options: {
  readonly database: Database
  readonly nodeId: string
  readonly log: Logger
  /** How often it looks without being notified, in milliseconds. Default 1000. */
  readonly pollMs?: number | undefined
}): Promise<News> {
  const { nodeId, log } = options
  const own = withoutStandby(options.database)
  const tail = createNewsTail(options)
  await tail.start()
  const prune = () => {
    pruneNews(own, KEPT_SECONDS).catch((error: unknown) => {
      log.warn({ reason: messageOf(error) }, 'old news of other nodes could not be deleted, trying again')
    })
  }
  const pruning = setInterval(prune, PRUNE_EVERY_MS).unref()
  return {
    note: async (session, orgId, firstSeq, lastSeq) => {
      await addNews(session, { nodeId, kind: 'audit', orgId, firstSeq, lastSeq })
    },
    noteDecisions: async (session, decisions) => {
      const [first] = decisions
      if (first === undefined) return
      await addNews(session, { nodeId, kind: 'decisions', body: JSON.stringify(summaryOf(first, decisions)) })
    },
    committed: tail.wake,
    listen: tail.listen,
    tell: async (messages) => {
      if (messages.length === 0) return
      await addNews(own, { nodeId, kind: 'messages', body: JSON.stringify(messages) })
      tail.wake()
    },
    close: async () => {
      clearInterval(pruning)
      await tail.close()
    },
  }
}

/** Which orgs they are of, and between which request IDs they lie. */
function summaryOf(first: DecisionRecord, decisions: readonly DecisionRecord[]): NewDecisions {
  const orgs = new Set(decisions.map(({ orgId }) => orgId))
  let from = first.requestId
  let to = from
  for (const { requestId } of decisions) {
    if (requestId < from) from = requestId
    if (requestId > to) to = requestId
  }
  return { orgs: orgs.size > MAX_NAMED_ORGS ? null : [...orgs], from, to }
}
