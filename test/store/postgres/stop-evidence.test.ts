import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import type { StopEvidence } from '../../../src/control-plane/stops/stop-store.ts'
import type { Database } from '../../../src/store/postgres/database.ts'
import { noteDenials } from '../../../src/store/postgres/denial-notes.ts'
import { createStopEvidence } from '../../../src/store/postgres/stop-evidence.ts'
import { decisionRecord, KEY, ORG } from '../../contract/control-plane-records.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { openTwoNodes } from './desk-nodes.ts'

const NONE = { aborted: 0, finished: 0, unknown: 0, running: 0 }

describe.skipIf(noPostgres)('evidence of stops, written by several nodes', () => {
  let server: TestPostgres
  let nodes: Awaited<ReturnType<typeof openTwoNodes>>
  let living: string[]
  beforeAll(async () => {
    server = await startPostgres()
    nodes = await openTwoNodes(server)
  })
  beforeEach(async () => {
    living = ['a', 'b']
    await nodes.first.query('TRUNCATE replicas, replica_streams, stop_acks')
  })
  afterAll(async () => {
    await nodes?.close()
    await server?.close()
  })

  type Limits = { readonly maxReplicasOfKey?: number; readonly maxAcksOfKey?: number }
  const storeOf = (database: Database, nodeId: string, limits: Limits = {}) =>
    createStopEvidence(database, { nodeId, livingNodes: async () => living, ...limits })
  type Store = ReturnType<typeof storeOf>

  const two = (limits: Limits = {}) => {
    const { first, second } = nodes
    return { first, second, a: storeOf(first, 'a', limits), b: storeOf(second, 'b', limits) }
  }
  const of = (replica: string, atMs: number) => ({ orgId: ORG.orgId, keyId: KEY.keyId, replica, atMs })
  const record = (store: Store, evidence: Partial<StopEvidence>) =>
    store.recordStopEvidence({ seen: [], told: [], acks: [], ...evidence })
  const stream = (store: Store, atMs: number, streamUp: boolean, replica = 'r') =>
    record(store, { seen: [{ ...of(replica, atMs), keyKind: KEY.kind, streamUp }] })
  const ups = async (store: Store) =>
    (await store.listReplicas(ORG.orgId, 0)).map(({ replica, streamUp }) =>
      streamUp ? replica : `-${replica}`,
    )
  const isUp = async (store: Store) => (await ups(store)).join() === 'r'

  describe('a stream that moves to another node', () => {
    test('is up there, whatever the node that had it says of its end, and whichever is stored first', async () => {
      const { a, b } = two()
      await stream(a, 10, true)
      await stream(b, 20, true)
      await stream(a, 30, false)
      expect(await isUp(a)).toBe(true)
      await stream(b, 40, false)
      expect(await isUp(a)).toBe(false)
      // The end of the old one is stored first, by a clock that is a little ahead.
      await stream(a, 50, true)
      await stream(a, 61, false)
      await stream(b, 60, true)
      expect(await isUp(b)).toBe(true)
      // What a node tells late of a stream that was opened earlier takes nothing away.
      await stream(a, 55, true)
      await stream(a, 62, false)
      expect(await isUp(b)).toBe(true)
    })

    test('ends with its node: when that one is dead, or starts anew; not when another one starts', async () => {
      const { a, b } = two()
      await stream(a, 10, true, 'on-a')
      await stream(b, 10, true, 'on-b')
      await a.closeStreams()
      expect(await ups(b)).toEqual(['-on-a', 'on-b'])
      await stream(a, 20, true, 'on-a')
      // Whoever tidies up is there, whatever others think.
      living = []
      await a.closeStreams('gone')
      expect(await ups(a)).toEqual(['on-a', '-on-b'])
    })

    test('one that was opened while it is being looked up who lives stays open', async () => {
      const { first, b } = two()
      const a = createStopEvidence(first, {
        nodeId: 'a',
        livingNodes: async () => {
          await stream(b, 10, true)
          return ['a']
        },
      })
      await a.closeStreams()
      expect(await isUp(a)).toBe(true)
    })
  })

  test('of one key a bounded number of replicas is kept: those silent longest go first, open streams last', async () => {
    const { a, b, first } = two({ maxReplicasOfKey: 3 })
    await stream(a, 1, true, 'up')
    const seen = (store: Store, replica: string, atMs: number, keyId = KEY.keyId) =>
      record(store, { seen: [{ ...of(replica, atMs), keyId, keyKind: KEY.kind }] })
    await seen(b, 'old', 2)
    await seen(a, 'new', 3)
    await seen(b, 'new', 3)
    await seen(a, 'other', 1, 'k2')
    expect(await ups(a)).toEqual(['-new', '-old', 'up', '-other'])
    await first.transact(async (session) => {
      // Somebody else writes one that stays.
      await session.query("SELECT FROM replicas WHERE replica = 'up' FOR UPDATE")
      await seen(b, 'newer', 4)
    })
    expect(await ups(a)).toEqual(['-new', '-newer', 'up', '-other'])
  })

  test('whatever names one key claims, of one stop a bounded number is kept, and known ones go on', async () => {
    const { a, b } = two({ maxAcksOfKey: 3 })
    const write = (store: Store, epoch: number, told: string[], acked: string[], keyId = KEY.keyId) =>
      record(store, {
        told: told.map((name) => ({ ...of(name, 1), keyId, epoch })),
        acks: acked.map((name) => ({ ...of(name, 1), keyId, ack: { epoch, phase: 'received', ...NONE } })),
      })
    const kept = async (epoch: number) =>
      (await a.listStopAcks(ORG.orgId, epoch)).map(
        ({ replica, receivedAtMs }) => `${replica}${receivedAtMs === null ? '' : ' received'}`,
      )
    await write(a, 7, ['r1', 'r2'], ['r3', 'r4', 'r5'])
    expect(await kept(7)).toEqual(['r1', 'r2', 'r3 received'])
    await write(b, 7, ['r6'], ['r1', 'r6'])
    expect(await kept(7)).toEqual(['r1 received', 'r2', 'r3 received'])
    // Neither another key nor another stop has less room for it.
    await write(b, 7, [], ['r1'], 'k2')
    await write(b, 8, ['r4'], [])
    expect(await kept(7)).toHaveLength(4)
    expect(await kept(8)).toEqual(['r4'])
  })

  const names = Array.from({ length: 9 }, (_, n) => `r${n}`)
  const TOLD = new Set(['r0', 'r4', 'r8'])
  const writes = {
    replicas: (store: Store, order: readonly string[]) =>
      record(store, {
        seen: order.map((name) => ({ ...of(name, 1), keyKind: KEY.kind, streamUp: true, devices: [] })),
      }),
    stop_acks: (store: Store, order: readonly string[]) =>
      record(store, {
        told: order.filter((name) => TOLD.has(name)).map((name) => ({ ...of(name, 1), epoch: 7 })),
        acks: order
          .filter((name) => !TOLD.has(name))
          .map((name) => ({ ...of(name, 1), ack: { epoch: 7, phase: 'settled', ...NONE } })),
      }),
  }
  const deny = (database: Database, order: readonly string[]) =>
    database.transact((session) =>
      noteDenials(
        session,
        order.map((replica) => decisionRecord(1, { replica })),
      ),
    )
  /** Runs `both` while a row in the middle is held, until each of the two waits for somebody. */
  async function meet(table: keyof typeof writes, both: () => readonly Promise<unknown>[]) {
    const { first, second } = nodes
    let met: Promise<PromiseSettledResult<unknown>[]> | undefined
    await first.transact(async (session) => {
      await session.query(`SELECT FROM ${table} WHERE replica = 'r4' FOR UPDATE`)
      met = Promise.allSettled(both())
      const waiting = async () =>
        (await second.query(WAITING)).map((row) => Number(row['waiting'])).includes(2)
      while (!(await waiting())) continue
    })
    return (await met)?.map((one) => (one.status === 'rejected' ? String(one.reason) : 'written'))
  }

  test.each([
    ['replicas', 'evidence', (first: Database) => writes.replicas(storeOf(first, 'a'), names)],
    ['replicas', 'denials', (first: Database) => deny(first, names)],
    ['stop_acks', 'evidence', (first: Database) => writes.stop_acks(storeOf(first, 'a'), names)],
  ] as const)('of the same %s, in another order than %s, is stored after it', async (table, _, other) => {
    const { first, b } = two()
    const back = names.toReversed()
    // As they lie in the table, too.
    for (const name of back) await writes[table](b, [name])
    const both = () => [other(first), writes[table](b, back)]
    expect(await meet(table, both)).toEqual(['written', 'written'])
  })

  test('deletes what is old, and waits for nobody who has it in hand', async () => {
    const { a, b, first } = two()
    await writes.replicas(a, names)
    await first.transact(async (session) => {
      await session.query("SELECT FROM replicas WHERE replica < 'r4' FOR UPDATE")
      expect(await b.pruneStopEvidence(9, 3)).toBe(3)
      expect(await b.pruneStopEvidence(9, 100)).toBe(2)
    })
    expect(await b.pruneStopEvidence(9, 100)).toBe(4)
  })
})

const WAITING = `
  SELECT count(*) AS waiting, pg_sleep(0.005)::text FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock'`
