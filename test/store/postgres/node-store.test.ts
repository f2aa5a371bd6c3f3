import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'

import type { DrillRunBody } from '../../../src/machineid/wire-drills.ts'
import { createDatabase, type Database } from '../../../src/store/postgres/database.ts'
import { migrate } from '../../../src/store/postgres/migrate.ts'
import { openNodeStore, type OpenedNodeStore } from '../../../src/store/postgres/node-store.ts'
import { NODES } from '../../../src/store/postgres/schema-nodes.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'

const SCHEMA = 'holdpoint_control_plane'
const NODE = { host: 'here', pid: 1, version: '1.0.0' }

let server: TestPostgres
let url: string

describe.skipIf(noPostgres)('what nodes share in Postgres', () => {
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())
  beforeEach(async () => {
    url = await server.createDatabase()
  })

  /** A node with connections of its own. */
  async function node(nodeId: string, { generation = 0 } = {}): Promise<OpenedNodeStore> {
    const database: Database = createDatabase({
      url,
      schema: SCHEMA,
      name: nodeId,
      poolSize: 8,
      timeoutMs: 2000,
    })
    await migrate(database, SCHEMA, [{ sql: NODES }])
    const store = await openNodeStore(database, { nodeId, generation: () => generation })
    onTestFinished(async () => {
      store.closeClock()
      await database.close()
    })
    return store
  }
  const three = () => Promise.all(['a', 'b', 'c'].map((nodeId) => node(nodeId)))
  const sql = (text: string) => server.query(url, text.replaceAll('$$', `${SCHEMA}.`))

  test('its time is theirs', async () => {
    const [a, b] = await Promise.all([node('a'), node('b')])
    const [row] = await sql('SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now')
    expect(Math.abs(a.clock.now().wallMs - Number(row?.['now']))).toBeLessThan(250)
    expect(Math.abs(a.clock.now().wallMs - b.clock.now().wallMs)).toBeLessThan(20)
  })

  describe('who lives', () => {
    test('is whoever was heard of within 15 s and has not left', async () => {
      const [a, b, c] = (await three()) as [OpenedNodeStore, OpenedNodeStore, OpenedNodeStore]
      for (const one of [a, b, c]) await one.heartbeat(NODE)
      const living = async () => (await a.heartbeat(NODE)).map(({ nodeId }) => nodeId)
      expect(await living()).toEqual(['a', 'b', 'c'])
      expect((await a.heartbeat(NODE))[0]).toMatchObject(NODE)
      await b.leaveNodes()
      expect(await living()).toEqual(['a', 'c'])
      await sql("UPDATE $$nodes SET heard_at_ms = heard_at_ms - 15000 WHERE node_id = 'c'")
      expect(await living()).toEqual(['a'])
      await c.heartbeat(NODE)
      expect(await living()).toEqual(['a', 'c'])
    })
  })

  describe('chores', () => {
    test('are done by one, until it leaves or nothing is heard of it for 10 s', async () => {
      const [a, b] = await Promise.all([node('a'), node('b')])
      expect(await a.takeChores()).toEqual({ remindedUntilMs: 0 })
      expect(await b.takeChores()).toBeUndefined()
      await a.noteReminded(7)
      await b.noteReminded(9)
      await a.noteReminded(5)
      await a.leaveChores()
      expect(await b.takeChores()).toEqual({ remindedUntilMs: 7 })
      await a.leaveChores()
      expect(await a.takeChores()).toBeUndefined()
      await sql('UPDATE $$chores SET until_ms = until_ms - 10001')
      expect(await a.takeChores()).toBeDefined()
    })

    test('go on when the clock of the database was set back', async () => {
      const [a, b] = await Promise.all([node('a'), node('b')])
      await a.takeChores()
      await sql('UPDATE $$chores SET until_ms = until_ms + 3600000')
      expect(await b.takeChores()).toBeDefined()
    })

    test('delete what is of no more use, and nothing else', async () => {
      const a = await node('a')
      await a.heartbeat(NODE)
      await a.takeToken({ name: 'n', id: 'i', burst: 1, perSecond: 0.001 })
      await a.takeMail('x@example.org', { atMost: 3, withinMs: 3_600_000 })
      const minute = Math.floor(a.clock.now().wallMs / 60_000)
      await a.addRates([0, 59, 130].map((ago) => ({ orgId: 'o', minute: minute - ago, cell: 0, count: 1 })))
      const rows = async () => {
        const tables = ['nodes', 'rate_buckets', 'mails_sent', 'decision_rates']
        const [row] = await sql(
          `SELECT ${tables.map((table) => `(SELECT count(*)::int FROM $$${table}) AS ${table}`).join()}`,
        )
        return Object.values(row ?? {})
      }
      await a.pruneNodes(100)
      expect(await rows()).toEqual([1, 1, 1, 2])
      await sql('UPDATE $$nodes SET heard_at_ms = 0')
      await sql('UPDATE $$rate_buckets SET at_ms = at_ms - 3600001')
      await sql('UPDATE $$mails_sent SET last_at_ms = last_at_ms - 3600001')
      await a.pruneNodes(100)
      expect(await rows()).toEqual([0, 0, 0, 2])
    })
  })

  describe('limits', () => {
    const bucket = { name: 'test', id: '192.0.2.1', burst: 10, perSecond: 1 / 60 }

    test('let a burst through in all, however many ask at once on however many nodes', async () => {
      const nodes = await three()
      const waits = await Promise.all(
        Array.from({ length: 60 }, (_, turn) => (nodes[turn % 3] as OpenedNodeStore).takeToken(bucket)),
      )
      expect(waits.filter((wait) => wait === 0)).toHaveLength(10)
      const [wait = 0] = waits.filter((one) => one > 0)
      expect(wait).toBeGreaterThan(55_000)
      expect(wait).toBeLessThanOrEqual(60_000)
      expect(await nodes[0]?.takeToken({ ...bucket, id: '192.0.2.2' })).toBe(0)
    })

    test('then what comes in, and never more than the burst', async () => {
      const a = await node('a')
      for (let turn = 0; turn < 10; turn++) await a.takeToken(bucket)
      await sql('UPDATE $$rate_buckets SET at_ms = at_ms - 61000')
      expect(await a.takeToken(bucket)).toBe(0)
      expect(await a.takeToken(bucket)).toBeGreaterThan(0)
      await sql('UPDATE $$rate_buckets SET at_ms = at_ms - 3600000')
      const free = []
      for (let turn = 0; turn < 12; turn++) free.push((await a.takeToken(bucket)) === 0)
      expect(free.filter(Boolean)).toHaveLength(10)
    })

    test('go on when the clock of the database was set back by an hour', async () => {
      const a = await node('a')
      for (let turn = 0; turn < 11; turn++) await a.takeToken(bucket)
      await sql('UPDATE $$rate_buckets SET at_ms = at_ms + 3600000')
      await a.takeToken(bucket)
      await sql('UPDATE $$rate_buckets SET at_ms = at_ms - 121000')
      expect(await a.takeToken(bucket)).toBe(0)
    })

    test('allow three mails to an address in any hour, in all', async () => {
      const nodes = await three()
      const limit = { atMost: 3, withinMs: 3_600_000 }
      const asked = await Promise.all(
        Array.from({ length: 12 }, (_, turn) =>
          (nodes[turn % 3] as OpenedNodeStore).takeMail('owner@example.org', limit),
        ),
      )
      expect(asked.filter(Boolean)).toHaveLength(3)
      const [a] = nodes as [OpenedNodeStore]
      await sql('UPDATE $$mails_sent SET sent_at_ms[1] = sent_at_ms[1] - 3600001')
      expect(await a.takeMail('owner@example.org', limit)).toBe(true)
      expect(await a.takeMail('owner@example.org', limit)).toBe(false)
      expect(await a.takeMail('other@example.org', limit)).toBe(true)
    })

    test('hold few connections, however many ask: the rest are told to come back', async () => {
      const a = await node('a')
      const waits = await Promise.all(
        Array.from({ length: 200 }, () => a.takeToken({ ...bucket, burst: 1000, perSecond: 1000 })),
      )
      expect(waits.filter((wait) => wait === 0)).toHaveLength(52)
      expect(waits.filter((wait) => wait === 1000)).toHaveLength(148)
      expect(await a.takeToken(bucket)).toBe(0)
    })
  })

  describe('decision rates', () => {
    test('are added up over all nodes, whatever they add at the same time', async () => {
      const nodes = await three()
      const rows = (turn: number) =>
        Array.from({ length: 60 }, (_, at) => ({
          orgId: `org-${(at * 7 + turn) % 20}`,
          minute: 100 + ((at * 3) % 3),
          cell: (at + turn) % 12,
          count: 1,
        }))
      const distinct = (all: ReturnType<typeof rows>) => [
        ...new Map(all.map((row) => [JSON.stringify(row), row])).values(),
      ]
      const batches = Array.from({ length: 30 }, (_, turn) => distinct(rows(turn)))
      await Promise.all(batches.map((batch, turn) => (nodes[turn % 3] as OpenedNodeStore).addRates(batch)))
      const found = await nodes[1]?.ratesOf('org-3', 100)
      const expected = batches.flat().filter(({ orgId }) => orgId === 'org-3')
      expect(found?.rows.reduce((sum, { count }) => sum + count, 0)).toBe(expected.length)
      expect((await nodes[1]?.ratesOf('org-3', 101))?.rows).toEqual([])
    })

    test('are complete since the first node, and of a restored store since it was opened', async () => {
      const a = await node('a')
      const { sinceMs } = await a.ratesOf('o', 0)
      expect((await (await node('b')).ratesOf('o', 0)).sinceMs).toBe(sinceMs)
      await sql('UPDATE $$decision_rates_since SET since_ms = since_ms - 1000')
      const restored = await node('c', { generation: 1 })
      expect((await restored.ratesOf('o', 0)).sinceMs).toBeGreaterThan(sinceMs - 1)
    })
  })

  test('decision rates whose beginning a failover has lost are complete from then on', async () => {
    const a = await node('a')
    await sql('DELETE FROM $$decision_rates_since')
    const { sinceMs } = await a.ratesOf('o', 0)
    expect(Math.abs(sinceMs - a.clock.now().wallMs)).toBeLessThan(5000)
    expect((await (await node('b')).ratesOf('o', 0)).sinceMs).toBe(sinceMs)
  })

  test('what a node says of itself needs no standby; what guards a secret, or is acked, does', async () => {
    const setStandby = async (name: string) => {
      await server.configure(`synchronous_standby_names = '${name}'`)
      server.reload()
      const shown = async () => (await sql('SHOW synchronous_standby_names'))[0]
      await expect.poll(shown).toEqual({ synchronous_standby_names: name })
    }
    const a = await node('a')
    await setStandby('nobody')
    try {
      expect(await a.heartbeat(NODE)).toHaveLength(1)
      expect(await a.takeChores()).toBeDefined()
      await a.noteReminded(1)
      await a.addRates([{ orgId: 'o', minute: 1, cell: 0, count: 1 }])
      await a.pruneNodes(100)
      await a.leaveChores()
      await a.leaveNodes()
      const needsStandby = [
        a.takeToken({ name: 'sign_in', id: 'i', burst: 1, perSecond: 1 }),
        a.takeMail('x@example.org', { atMost: 3, withinMs: 3_600_000 }),
        a.claimDrillRun('o', 'run'),
      ]
      const settled = await Promise.allSettled(needsStandby)
      expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    } finally {
      await setStandby('')
    }
  })

  describe('drill runs', () => {
    const idle = { startedAt: null, endedAt: null, by: 'me', drillId: null, lines: ['a'] }
    const body: DrillRunBody = { ...idle, state: 'running' }

    test('one at a time over all nodes, and every node tells of it', async () => {
      const nodes = await three()
      const claims = await Promise.all(nodes.map((one, at) => one.claimDrillRun('o', `run-${at}`)))
      expect(claims.filter(Boolean)).toHaveLength(1)
      const runId = `run-${claims.indexOf(true)}`
      const [a, b] = nodes as [OpenedNodeStore, OpenedNodeStore]
      expect(await a.findDrillRun('o')).toBeUndefined()
      expect(await a.tellDrillRun('o', runId, body)).toBe(true)
      expect(await b.findDrillRun('o')).toEqual({ run: body, lostAtMs: undefined })
      expect(await b.claimDrillRun('o', 'next')).toBe(false)
      expect(await b.claimDrillRun('other', 'next')).toBe(true)
      await a.tellDrillRun('o', runId, { ...body, state: 'held' })
      expect(await b.claimDrillRun('o', 'next')).toBe(true)
      expect((await b.findDrillRun('o'))?.run.state).toBe('held')
      await b.releaseDrillRun('o', 'next')
      expect(await a.claimDrillRun('o', 'again')).toBe(true)
    })

    test('one of a node that died is lost for good, though the node come back', async () => {
      const [a, b] = await Promise.all([node('a'), node('b')])
      await a.claimDrillRun('o', 'run')
      await a.tellDrillRun('o', 'run', body)
      await sql('UPDATE $$drill_runs SET heard_at_ms = heard_at_ms - 15001')
      const found = await b.findDrillRun('o')
      expect(found?.lostAtMs).toBeGreaterThan(0)
      expect(await a.tellDrillRun('o', 'run', body)).toBe(false)
      expect(await b.findDrillRun('o')).toEqual(found)
      expect(await b.claimDrillRun('o', 'next')).toBe(true)
      expect(await a.tellDrillRun('o', 'run', body)).toBe(false)
    })
  })
})
