import { expect, test } from 'vitest'

import { CONTROL_PLANE_MIGRATIONS } from '../../src/store/sqlite/control-plane-schema.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { createStopEvidence } from '../../src/store/sqlite/stop-evidence.ts'
import { createWriter } from '../../src/store/sqlite/transaction.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('ack-cap')
const NONE = { aborted: 0, finished: 0, unknown: 0, running: 0 }

function openStore(maxAcksOfKey?: number) {
  const file = newFile()
  const db = openSqlite(file)
  migrate(db, file, CONTROL_PLANE_MIGRATIONS)
  db.exec('PRAGMA foreign_keys = OFF')
  const more = maxAcksOfKey === undefined ? {} : { maxAcksOfKey }
  return { db, store: createStopEvidence(db, createWriter(db, file), more) }
}

test('of the calls that one replica tells the first 16 KiB are kept, and the counts of all', async () => {
  const { db, store } = openStore()
  const long = '\u0001é'.repeat(128)
  const calls = Array.from({ length: 100 }, (_, at) => ({
    callId: `${at}`.padEnd(256, 'x'),
    runId: long,
    tool: long,
    end: 'unknown' as const,
  }))
  const ack = { epoch: 7, phase: 'settled' as const, ...NONE, unknown: 100, calls }
  const record = (replica: string, told: typeof calls) =>
    store.recordStopEvidence({
      seen: [],
      told: [],
      acks: [{ orgId: 'o', keyId: 'k1', replica, atMs: 1, ack: { ...ack, calls: told } }],
    })
  await record('many', calls)
  await record('few', calls.slice(0, 3))
  const [few, many] = await store.listStopAcks('o', 7)
  expect(many?.unknown).toBe(100)
  expect(many?.calls.length).toBeGreaterThan(3)
  expect(many?.calls).toEqual(calls.slice(0, many?.calls.length))
  expect(few?.calls).toEqual(calls.slice(0, 3))
  const sizes = db.prepare('SELECT max(length(CAST(calls AS BLOB))) AS bytes FROM stop_acks').get()
  expect(Number(sizes?.['bytes'])).toBeLessThanOrEqual(16 * 1024)
  expect(Number(sizes?.['bytes'])).toBeGreaterThan(12 * 1024)
  db.close()
})

test('whatever names one key claims, of one stop a bounded number is kept, and known ones go on', async () => {
  const { db, store } = openStore(3)
  const of = (replica: string, keyId = 'k1') => ({ orgId: 'o', keyId, replica, atMs: 1 })
  const record = (epoch: number, told: readonly string[], acked: readonly string[], keyId?: string) =>
    store.recordStopEvidence({
      seen: [],
      told: told.map((name) => ({ ...of(name, keyId), epoch })),
      acks: acked.map((name) => ({ ...of(name, keyId), ack: { epoch, phase: 'received', ...NONE } })),
    })
  const kept = async (epoch: number) =>
    (await store.listStopAcks('o', epoch)).map(
      ({ keyId, replica, receivedAtMs }) => `${keyId} ${replica}${receivedAtMs === null ? '' : ' received'}`,
    )

  await record(7, ['r1', 'r2'], ['r3', 'r4', 'r5'])
  expect(await kept(7)).toEqual(['k1 r1', 'k1 r2', 'k1 r3 received'])
  await record(7, ['r6'], ['r1', 'r6'])
  expect(await kept(7)).toEqual(['k1 r1 received', 'k1 r2', 'k1 r3 received'])
  // Neither another key nor another stop has less room for it.
  await record(7, [], ['r1'], 'k2')
  await record(8, ['r4'], [])
  expect(await kept(7)).toContain('k2 r1 received')
  expect(await kept(8)).toEqual(['k1 r4'])
  db.close()
})
