import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import type { NewsListener, NodeMessage } from '../../../src/control-plane/nodes/shared-store.ts'
import type { AuditRow, DecisionRecord } from '../../../src/control-plane/records.ts'
import { decisions as decisionRows } from '../../../src/store/control-plane-rows.ts'
import { CONTROL_PLANE_MIGRATIONS } from '../../../src/store/postgres/control-plane-schema.ts'
import { createDatabase, type Database } from '../../../src/store/postgres/database.ts'
import type { Session } from '../../../src/store/postgres/session.ts'
import { migrate } from '../../../src/store/postgres/migrate.ts'
import { openNews, type News } from '../../../src/store/postgres/news.ts'
import { pruneNews } from '../../../src/store/postgres/news-rows.ts'
import { insertAll, rowsOf } from '../../../src/store/postgres/statements.ts'
import { decisionRecord } from '../../contract/control-plane-records.ts'
import { logLines, type LogLines } from '../../fixtures/log-lines.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { startTcpProxy } from '../../nodes/tcp-proxy.ts'

// A notification that is missed costs latency and nothing else: each row of the audit is told on every node, once, in the
// order of its org.

const SCHEMA = 'holdpoint_control_plane'
/** Longer than any test: who hears something was notified, or connected anew. */
const NEVER_MS = 600_000

let server: TestPostgres
let url: string
let database: Database

interface Node {
  readonly news: News
  /** `org seq`, as they were told. */
  readonly heard: string[]
  readonly told: NodeMessage[]
  readonly decided: DecisionRecord[]
  readonly losses: () => number
  readonly lines: LogLines['lines']
}

describe.skipIf(noPostgres)('news of nodes that share a database', () => {
  beforeAll(async () => {
    server = await startPostgres()
    url = await server.createDatabase()
    database = createDatabase({ url, schema: SCHEMA, name: 'test', poolSize: 8, timeoutMs: 1500 })
    await migrate(database, SCHEMA, CONTROL_PLANE_MIGRATIONS)
  })
  afterAll(async () => {
    await database?.close()
    await server?.close()
  })
  beforeEach(() => database.query('TRUNCATE news, audit, decisions RESTART IDENTITY'))

  function open(name: string, through = url, timeoutMs = 1500): Database {
    const opened = createDatabase({ url: through, schema: SCHEMA, name, poolSize: 8, timeoutMs })
    onTestFinished(() => opened.close())
    return opened
  }
  async function node(
    nodeId: string,
    options: {
      pollMs?: number
      timeoutMs?: number
      through?: string
      listener?: Partial<NewsListener>
    } = {},
  ): Promise<Node> {
    const { pollMs = NEVER_MS, listener, through, timeoutMs } = options
    const { log, lines } = logLines()
    const news = await openNews({ database: open(nodeId, through, timeoutMs), nodeId, log, pollMs })
    const node = { heard: [] as string[], told: [] as NodeMessage[], decided: [] as DecisionRecord[] }
    let losses = 0
    const stop = news.listen({
      committed: (rows: readonly AuditRow[]) =>
        void node.heard.push(...rows.map(({ orgId, seq }) => `${orgId} ${seq}`)),
      told: (message) => void node.told.push(message),
      decided: (records) => void node.decided.push(...records),
      wantsDecisionsOf: () => new Set(),
      lost: () => void losses++,
      ...listener,
    })
    onTestFinished(async () => {
      stop()
      await news.close()
    })
    return { news, ...node, losses: () => losses, lines }
  }
  const addRows = async (session: Session, news: News, [orgId, first, last]: [string, number, number]) => {
    await session.query(
      `INSERT INTO audit (org_id, seq, prev_hash, hash, id, at_ms, actor, action)
       SELECT $1, seq, '', '', '', 0, '', 'test' FROM generate_series($2::bigint, $3::bigint) seq`,
      [orgId, first, last],
    )
    await news.note(session, orgId, first, last)
  }
  /** As a change does it, but that nobody is notified. */
  const commit = (news: News, orgId: string, first: number, last = first) =>
    database.transact((session) => addRows(session, news, [orgId, first, last]))
  const cutConnections = () =>
    server.query(
      url,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdpoint news' AND datname = current_database()",
    )
  const seqs = (orgId: string, from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, at) => `${orgId} ${from + at}`)
  const until = (holds: () => boolean) => expect.poll(holds, { interval: 2, timeout: 5000 }).toBe(true)

  test('reach every node, the one that made them too, as soon as they are committed', async () => {
    const nodes = [await node('a'), await node('b'), await node('c')] as const
    for (const [index, { news }] of nodes.entries()) {
      await commit(news, 'org', index + 1)
      news.committed()
    }
    for (const { heard } of nodes) await until(() => heard.length === 3)
    for (const { heard } of nodes) expect(heard).toEqual(seqs('org', 1, 3))
  })

  test('are heard from the server that the store has moved to, though the one before still answers', async () => {
    let servers = 1
    const admit = async () => {
      const server = servers
      return () => server === servers
    }
    const moved = createDatabase({ url, schema: SCHEMA, name: 'moved', poolSize: 2, timeoutMs: 1500, admit })
    onTestFinished(() => moved.close())
    const { log } = logLines()
    const pids = async () =>
      (
        await server.query(url, "SELECT pid FROM pg_stat_activity WHERE application_name = 'holdpoint news'")
      ).map(({ pid }) => pid)
    const news = await openNews({ database: moved, nodeId: 'moved', log, pollMs: NEVER_MS })
    onTestFinished(news.close)
    const heard: number[] = []
    const listener = {
      told: () => {},
      decided: () => {},
      lost: () => {},
      wantsDecisionsOf: () => new Set<string>(),
    }
    news.listen({ ...listener, committed: (rows) => void heard.push(...rows.map(({ seq }) => seq)) })
    const [before] = await pids()
    servers = 2
    await commit(news, 'org', 1)
    news.committed()
    await until(() => heard.length === 1)
    expect(await pids()).not.toContain(before)
  })

  test('are found without any notification, within the time between two looks', async () => {
    const [a, b] = [await node('a'), await node('b', { pollMs: 50 })]
    await commit(a.news, 'org', 1, 3)
    await until(() => b.heard.length === 3)
    expect(a.heard).toEqual([])
  })

  test('that get a number early and are committed late are told, after what was committed before', async () => {
    const [a, b] = [await node('a'), await node('b')]
    const isNoted = Promise.withResolvers<void>()
    const mayCommit = Promise.withResolvers<void>()
    const late = database.transact(async (session) => {
      await addRows(session, a.news, ['late', 1, 1])
      isNoted.resolve()
      await mayCommit.promise
    })
    await isNoted.promise
    const failing = database.transact(async (session) => {
      await addRows(session, a.news, ['failed', 1, 1])
      throw new Error('rolled back')
    })
    await expect(failing).rejects.toThrow('rolled back')
    for (let seq = 1; seq <= 3; seq++) {
      await commit(a.news, 'early', seq)
      a.news.committed()
      await until(() => b.heard.length === seq)
    }
    mayCommit.resolve()
    await late
    a.news.committed()
    await until(() => b.heard.length === 4)
    expect(b.heard).toEqual([...seqs('early', 1, 3), 'late 1'])
  })

  test('that were under way when a node started are told there', async () => {
    const a = await node('a')
    const isNoted = Promise.withResolvers<void>()
    const mayCommit = Promise.withResolvers<void>()
    await commit(a.news, 'before', 1)
    const late = database.transact(async (session) => {
      await addRows(session, a.news, ['late', 1, 1])
      isNoted.resolve()
      await mayCommit.promise
    })
    await isNoted.promise
    const b = await node('b')
    mayCommit.resolve()
    await late
    a.news.committed()
    await until(() => b.heard.length > 0)
    expect(b.heard).toEqual(['late 1'])
  })

  test('of many changes by many nodes at once are told in the order of each org, each once', async () => {
    const nodes = [await node('a'), await node('b'), await node('c', { pollMs: 20 })] as const
    const next = new Map<string, number>()
    await database.query("INSERT INTO meta (name, value) VALUES ('x', 0), ('y', 0), ('z', 0)")
    const change = async ({ news }: Node, at: number) => {
      const orgId = ['x', 'y', 'z'][at % 3] as string
      await database.transact(async (session) => {
        // As each change locks its org.
        await session.query('SELECT FROM meta WHERE name = $1 FOR NO KEY UPDATE', [orgId])
        const first = (next.get(orgId) ?? 0) + 1
        const last = first + (at % 5)
        next.set(orgId, last)
        await addRows(session, news, [orgId, first, last])
      })
      // Some notifications are lost.
      if (at % 4 !== 0) news.committed()
      if (at % 60 === 0) await cutConnections()
    }
    let at = 0
    const changing = async (node: Node) => {
      while (at < 150) await change(node, at++)
    }
    await Promise.all([...nodes, ...nodes].map(changing))
    nodes[0].news.committed()
    const all = [...next.values()].reduce((sum, last) => sum + last, 0)
    for (const { heard, losses } of nodes) {
      await until(() => heard.length >= all)
      for (const [orgId, last] of next) {
        expect(heard.filter((one) => one.startsWith(orgId))).toEqual(seqs(orgId, 1, last))
      }
      expect(losses()).toBe(0)
    }
  }, 20_000)

  test('of thousands of rows in one piece come whole, and so do hundreds of pieces at once', async () => {
    const [a, b] = [await node('a'), await node('b')]
    await commit(a.news, 'org', 1, 6000)
    await database.transact(async (session) => {
      const seqs = Array.from({ length: 600 }, (_, at) => 6001 + at)
      await Promise.all(seqs.map((seq) => addRows(session, a.news, ['org', seq, seq])))
    })
    a.news.committed()
    await until(() => b.heard.length >= 6600)
    expect(b.heard).toEqual(seqs('org', 1, 6600))
  })

  test('go on where they were after the connection was cut, at once', async () => {
    const [a, b] = [await node('a'), await node('b')]
    await commit(a.news, 'org', 1)
    a.news.committed()
    await until(() => b.heard.length === 1)
    // Nobody is notified of it: they look because they had to connect anew.
    await commit(a.news, 'org', 2)
    await cutConnections()
    await until(() => a.heard.length === 2 && b.heard.length === 2)
    expect(b.heard).toEqual(seqs('org', 1, 2))
    expect(b.losses()).toBe(0)
  })

  test.for(['reset', 'held'] as const)(
    'missed while the network was %s are told once it is mended',
    async (network, { expect }) => {
      await using proxy = await startTcpProxy(server.port)
      const through = url.replace(`:${server.port}/`, `:${proxy.port}/`)
      const [a, b] = [await node('a'), await node('b', { pollMs: 50, through, timeoutMs: 200 })]
      await commit(a.news, 'org', 1)
      await until(() => b.heard.length === 1)
      proxy.set(network)
      for (let seq = 2; seq <= 4; seq++) await commit(a.news, 'org', seq)
      // Until it has noticed.
      await until(() => b.lines().some(({ msg }) => String(msg).includes('cannot be heard')))
      await commit(a.news, 'org', 5)
      expect(b.heard).toEqual(['org 1'])
      proxy.set('fine')
      await until(() => b.heard.length === 5)
      expect(b.heard).toEqual(seqs('org', 1, 5))
      expect(b.losses()).toBe(0)
    },
  )

  test('that are gone, with the database at an older state, are said to be lost; later ones are told', async () => {
    const [a, b] = [await node('a'), await node('b')]
    for (let seq = 1; seq <= 5; seq++) await commit(a.news, 'org', seq)
    a.news.committed()
    await until(() => b.heard.length === 5)
    // The numbers are given out anew, and soon beyond where it was.
    await server.query(
      url,
      `TRUNCATE ${SCHEMA}.news RESTART IDENTITY; DELETE FROM ${SCHEMA}.audit WHERE seq > 3`,
    )
    for (let seq = 4; seq <= 20; seq++) await commit(a.news, 'org', seq)
    await cutConnections()
    await until(() => a.losses() === 1 && b.losses() === 1)
    const before = b.heard.length
    await commit(a.news, 'org', 21)
    a.news.committed()
    await until(() => b.heard.length > before)
    expect(b.heard.slice(before)).toEqual(['org 21'])
  })

  test('that are old are deleted, but the last one, by which each node knows where it stands', async () => {
    const [a, b] = [await node('a'), await node('b')]
    for (let seq = 1; seq <= 5; seq++) await commit(a.news, 'org', seq)
    a.news.committed()
    await until(() => b.heard.length === 5)
    await pruneNews(database, 3600)
    expect(await database.query('SELECT count(*) AS kept FROM news')).toEqual([{ kept: 7 }])
    await server.query(url, `UPDATE ${SCHEMA}.news SET at = at - interval '2 hours'`)
    await pruneNews(database, 3600)
    expect(await database.query('SELECT news_id FROM news')).toEqual([{ news_id: 7 }])
  })

  test('that a node was cut off from for longer than they are kept are lost', async () => {
    const [a, b] = [await node('a'), await node('b')]
    await commit(a.news, 'org', 1)
    a.news.committed()
    await until(() => b.heard.length === 1)
    for (let seq = 2; seq <= 5; seq++) await commit(a.news, 'org', seq)
    await pruneNews(database, 0)
    await cutConnections()
    await until(() => b.losses() === 1)
    expect(b.heard).toEqual(['org 1'])
  })

  test('of one node for the others are heard by the others', async () => {
    const [a, b, c] = [await node('a'), await node('b'), await node('c')]
    const by = { orgId: 'org', keyId: 'key', replica: 'r/1', atMs: 1 }
    await a.news.tell([{ type: 'opened', by }])
    await until(() => b.told.length === 1 && c.told.length === 1)
    expect(b.told).toEqual([{ type: 'opened', by }])
    await commit(a.news, 'org', 1)
    a.news.committed()
    await until(() => a.heard.length === 1)
    expect(a.told).toEqual([])
  })

  test('of decisions are read on other nodes, for the orgs that somebody listens to, and nowhere else', async () => {
    const wants = (orgId: string) => ({ listener: { wantsDecisionsOf: () => new Set([orgId]) } })
    const [a, b, c] = [await node('a', wants('x')), await node('b', wants('x')), await node('c', wants('y'))]
    const decide = async (orgs: readonly string[]) => {
      const records = orgs.map((orgId, ordinal) => decisionRecord(Date.now() + ordinal, { orgId, ordinal }))
      await database.transact(async (session) => {
        await session.run(insertAll('decisions', decisionRows.columns), [rowsOf(decisionRows, records)])
        await a.news.noteDecisions(session, records)
      })
      a.news.committed()
      return records
    }
    const records = await decide(['x', 'z', 'x'])
    await until(() => b.decided.length === 2)
    expect(b.decided).toEqual([records[0], records[2]])
    // Of more orgs than a piece of news names.
    await decide(['y', ...Array.from({ length: 40 }, (_, at) => `other-${at}`)])
    await until(() => c.decided.length === 1)
    expect(c.decided).toMatchObject([{ orgId: 'y' }])
    expect(a.decided).toEqual([])
  })

  test('end with the node', async () => {
    const [a, b] = [await node('a'), await node('b')]
    await b.news.close()
    await commit(a.news, 'org', 1)
    a.news.committed()
    await until(() => a.heard.length === 1)
    await sleep(20)
    expect(b.heard).toEqual([])
  })
})
