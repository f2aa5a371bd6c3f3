import { expect, test } from 'vitest'

import { CONTROL_PLANE_MIGRATIONS } from '../../src/store/sqlite/control-plane-schema.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { createStopEvidence } from '../../src/store/sqlite/stop-evidence.ts'
import { createWriter } from '../../src/store/sqlite/transaction.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('ack-cap')
const NONE = { aborted: 0, finished: 0, unknown: 0, running: 0 }

test('whatever names one key claims, of one stop a bounded number is kept, and known ones go on', async () => {
  const file = newFile()
  const db = openSqlite(file)
  migrate(db, file, CONTROL_PLANE_MIGRATIONS)
  db.exec('PRAGMA foreign_keys = OFF')
  const store = createStopEvidence(db, createWriter(db, file), { maxAcksOfKey: 3 })
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
