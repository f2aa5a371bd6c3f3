import { messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { DecisionRecord } from '../records.ts'
import type { StopEvidence } from '../stops/stop-store.ts'
import type { Superseded } from '../stops/stop-streams.ts'
import type { NewsListener, NodeMessage, NodeNews } from './shared-store.ts'

/** Many replicas come back at once: they are told of together. */
const TELL_AFTER_MS = 20
const MAX_AT_ONCE = 500
/** Of decisions that were told, so many are known again. */
const MAX_REMEMBERED = 20_000

export interface NodeNewsOptions extends Pick<NewsListener, 'committed' | 'wantsDecisionsOf' | 'lost'> {
  readonly news: NodeNews
  readonly log: Logger
  /** Told of decisions of all nodes, each once. */
  readonly decided: (decisions: readonly DecisionRecord[]) => void
  /** This replica has opened a stream of stops on another node. */
  readonly superseded: (by: Superseded) => void
}

/** What one node tells the others, and hears of them. */
export interface FollowedNews {
  /** Stored by this node. */
  readonly decided: (decisions: readonly DecisionRecord[]) => void
  /** Tells the others whose streams were opened here. */
  readonly observed: (evidence: Partial<Pick<StopEvidence, 'seen'>>) => void
  /** From then on nothing is heard. */
  readonly close: () => void
}

export function followNews(options: NodeNewsOptions): FollowedNews {
  const { news, log, superseded, wantsDecisionsOf } = options
  const told = new Set<string>()
  let opened: NodeMessage[] = []
  let timer: NodeJS.Timeout | undefined

  /** By ID: what other nodes store is read by ranges that overlap, each other's and this one's. */
  const decided = (decisions: readonly DecisionRecord[]) => {
    const wanted = wantsDecisionsOf()
    if (wanted.size === 0) return told.clear()
    const fresh = decisions.filter(({ orgId, requestId, ordinal }) => {
      const id = `${requestId} ${ordinal}`
      return wanted.has(orgId) && !told.has(id) && told.add(id)
    })
    for (const id of told) {
      if (told.size <= MAX_REMEMBERED) break
      told.delete(id)
    }
    if (fresh.length > 0) options.decided(fresh)
  }
  const tell = async () => {
    const messages = opened
    opened = []
    timer = undefined
    for (let from = 0; from < messages.length; from += MAX_AT_ONCE) {
      await news.tell(messages.slice(from, from + MAX_AT_ONCE))
    }
  }
  const stopListening = news.listen({
    committed: options.committed,
    decided,
    wantsDecisionsOf,
    told: ({ type, by }) => {
      // A newer version may have more to say.
      if (type === 'opened') superseded({ ...by, isElsewhere: true })
    },
    lost: options.lost,
  })
  return {
    decided,
    observed: ({ seen = [] }) => {
      for (const { orgId, keyId, replica, atMs, streamUp } of seen) {
        if (streamUp === true) opened.push({ type: 'opened', by: { orgId, keyId, replica, atMs } })
      }
      if (opened.length === 0) return
      timer ??= setTimeout(() => {
        // The older stream ends when its connection does.
        tell().catch((error: unknown) => {
          log.warn({ reason: messageOf(error) }, 'other nodes were not told of streams that were opened here')
        })
      }, TELL_AFTER_MS)
    },
    close: () => {
      clearTimeout(timer)
      stopListening()
    },
  }
}
