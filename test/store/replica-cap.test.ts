import { expect, test } from 'vitest'

import { CONTROL_PLANE_MIGRATIONS } from '../../src/store/sqlite/control-plane-schema.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { createReplicaCap } from '../../src/store/sqlite/replica-cap.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('replica-cap')

test('of one key a bounded number of replicas is kept: those silent longest go first, open streams last', () => {
  const file = newFile()
  const db = openSqlite(file)
  migrate(db, file, CONTROL_PLANE_MIGRATIONS)
  db.exec('PRAGMA foreign_keys = OFF')
  const cap = createReplicaCap(db, 3)
  const insert = db.prepare(
    `INSERT INTO replicas (org_id, key_id, replica, key_kind, devices, first_seen_at_ms, last_seen_at_ms, stream_up)
     VALUES ('o', ?, ?, 'runtime', '[]', 0, ?, ?) ON CONFLICT DO NOTHING`,
  )
  const add = (replica: string, atMs: number, up = 0, keyId = 'k1') => {
    cap.makeRoom('o', keyId, replica)
    insert.run(keyId, replica, atMs, up)
  }
  const left = () =>
    db
      .prepare('SELECT key_id, replica FROM replicas ORDER BY 1, 2')
      .all()
      .map((row) => `${String(row['key_id'])} ${String(row['replica'])}`)
  add('up', 1, 1)
  add('old', 2)
  add('new', 3)
  add('new', 3)
  add('other', 1, 0, 'k2')
  expect(left()).toEqual(['k1 new', 'k1 old', 'k1 up', 'k2 other'])
  add('newer', 4)
  expect(left()).toEqual(['k1 new', 'k1 newer', 'k1 up', 'k2 other'])
  db.close()
})
