import type { NewsListener, NodeMessage } from '../../control-plane/nodes/shared-store.ts'
import { messageOf } from '../../errors.ts'
import { jittered } from '../../jitter.ts'
import type { Logger } from '../../log.ts'
import type { Database, OwnConnection } from './database.ts'
import type { Session } from './session.ts'
import { createNewsPosition, type NewsPosition } from './news-position.ts'
import * as rows from './news-rows.ts'
import { withoutStandby } from './without-standby.ts'

/** Nobody needs to be told that there is news: so often everybody looks. */
const POLL_MS = 1000
const RECONNECT_MS = { first: 100, most: 1000 } as const
const CHANNEL = 'holdpoint_news'
/** So many rows of the audit at once, or those of one change. */
const MAX_AUDIT_ROWS = 2000
/** Far more transactions than can be under way at once. */
const MAX_UNDER_WAY = 1000

export interface NewsTail {
  /** Connects, and stands where the news are now. Rejects when it cannot. */
  readonly start: () => Promise<void>
  readonly listen: (listener: NewsListener) => () => void
  /** There is news: reads it, and tells the other nodes that they should. */
  readonly wake: () => void
  readonly close: () => Promise<void>
}

interface Seen {
  readonly position: NewsPosition
  /** A row that was there then: while it is, none that came later has been lost. */
  readonly mark: Pick<rows.NewsRow, 'newsId' | 'atUs'>
}

/**
 * Reads the news in order by a connection of its own, woken by notifications and once a second without them. After it
 * lost the connection it goes on where it was.
 */
export function createNewsTail(options: {
  readonly database: Database
  readonly nodeId: string
  readonly log: Logger
  /** Default 1000. */
  readonly pollMs?: number | undefined
}): NewsTail {
  const { database, nodeId, log, pollMs = POLL_MS } = options
  let connection: OwnConnection | undefined
  let seen: Seen | undefined
  let listener: NewsListener | undefined
  let working: Promise<void> | undefined
  let isWanted = false
  let isTold = true
  let isClosed = false
  let failures = 0
  let timer: NodeJS.Timeout | undefined

  /** Where the news stand now. What is under way still counts as to come. */
  const stand = async (session: Session): Promise<Seen> => {
    // Something to stand at, also where there was no news yet.
    const mark = await rows.addNews(withoutStandby(database), { nodeId, kind: 'messages', body: '[]' })
    const from = Math.max(0, mark.newsId - MAX_UNDER_WAY)
    const { ids, horizon } = await rows.readIds(session, from)
    const position = createNewsPosition(from)
    position.read(ids, horizon)
    return { position, mark }
  }
  const connect = async (): Promise<OwnConnection> => {
    const opened = await database.connect('holdpoint news')
    const { session, client } = opened
    client.on('notification', ({ payload }) => {
      if (payload !== nodeId) look()
    })
    opened.onEnd(() => {
      if (connection !== opened) return
      connection = undefined
      // Whoever hung up, the next look is by a new connection.
      look()
    })
    try {
      // It only ever notifies, which need not wait for a disk or a standby.
      await session.exec(`SET synchronous_commit = off; LISTEN ${CHANNEL}`)
      if (seen === undefined) seen = await stand(session)
      else if (!(await rows.hasNews(session, seen.mark))) {
        seen = await stand(session)
        log.warn('news of other nodes were lost: all streams end, and come back for what they missed')
        listener?.lost()
      }
      connection = opened
      return opened
    } catch (error) {
      opened.destroy()
      throw error
    }
  }

  /** A server that was deposed may still answer, and has no news any more. */
  const current = (): OwnConnection | undefined => {
    if (connection?.isCurrent() !== false) return connection
    const deposed = connection
    connection = undefined
    deposed.destroy()
    return undefined
  }

  /** Answers whether there may be more. */
  const readSome = async (session: Session, from: Seen, to: NewsListener): Promise<boolean> => {
    const { position } = from
    const { news, horizon, isAll } = await rows.readNews(session, position.last(), position.missing())
    const taken = portionOf(news)
    const others = taken.filter((row) => row.nodeId !== nodeId)
    const wanted = to.wantsDecisionsOf()
    const [audit, decisions] = await Promise.all([
      rows.readAudit(session, ofKind(taken, 'audit')),
      wanted.size === 0 ? [] : rows.readDecisions(session, ofKind(others, 'decisions'), wanted),
    ])
    // From here on nothing can fail, and nothing is told twice.
    position.read(
      taken.map(({ newsId }) => newsId),
      // What was found and is not taken yet is not missing for good.
      taken.length === news.length ? horizon : { ...horizon, oldest: 0 },
    )
    const last = taken.at(-1)
    if (last !== undefined && last.newsId > from.mark.newsId) seen = { position, mark: last }
    if (audit.length > 0) to.committed(audit)
    for (const { body } of ofKind(others, 'messages'))
      for (const message of messagesOf(body)) to.told(message)
    if (decisions.length > 0) to.decided(decisions)
    return !isAll || taken.length < news.length
  }
  const work = async () => {
    try {
      while (isWanted && !isClosed && listener !== undefined) {
        isWanted = false
        const { session } = current() ?? (await connect())
        if (!isTold) void tellOthers(session)
        while (seen !== undefined && (await readSome(session, seen, listener))) continue
        if (failures > 0) log.info('news of other nodes are heard again')
        failures = 0
      }
    } catch (error) {
      failed(error)
    }
  }
  const tellOthers = async (session: Session) => {
    isTold = true
    // When it is lost they look by themselves a little later.
    await session.query(`SELECT pg_notify('${CHANNEL}', $1)`, [nodeId]).catch(() => {})
  }
  const failed = (error: unknown) => {
    const broken = connection
    connection = undefined
    broken?.destroy()
    if (failures++ === 0 && !isClosed) {
      log.warn({ reason: messageOf(error) }, 'news of other nodes cannot be heard, trying again')
    }
  }
  const delayMs = () =>
    failures === 0 ? pollMs : jittered(Math.min(RECONNECT_MS.first * 2 ** failures, RECONNECT_MS.most))
  function look(): void {
    isWanted = true
    if (working !== undefined || isClosed || listener === undefined) return
    clearTimeout(timer)
    working = work().finally(() => {
      working = undefined
      if (isClosed) return
      if (isWanted && failures === 0) return look()
      timer = setTimeout(look, delayMs()).unref()
    })
  }

  return {
    start: async () => void (await connect()),
    listen: (given) => {
      listener = given
      look()
      return () => {
        if (listener === given) listener = undefined
      }
    },
    wake: () => {
      isTold = false
      look()
    },
    close: async () => {
      isClosed = true
      clearTimeout(timer)
      connection?.destroy()
      await working
      connection?.destroy()
    },
  }
}

/** From the first on, as many as are read at once. */
function portionOf(news: readonly rows.NewsRow[]): readonly rows.NewsRow[] {
  let auditRows = 0
  const end = news.findIndex(({ kind, firstSeq, lastSeq }, index) => {
    if (kind === 'audit') auditRows += lastSeq - firstSeq + 1
    return index > 0 && auditRows > MAX_AUDIT_ROWS
  })
  return end === -1 ? news : news.slice(0, end)
}

function ofKind(news: readonly rows.NewsRow[], wanted: rows.NewsRow['kind']): readonly rows.NewsRow[] {
  return news.filter(({ kind }) => kind === wanted)
}

function messagesOf(body: string | null): readonly NodeMessage[] {
  return JSON.parse(body ?? '[]') as NodeMessage[]
}
