import { expect, test } from 'vitest'

import { CONTROL_PLANE_MIGRATIONS } from '../../src/store/sqlite/control-plane-schema.ts'
import { NEWEST_DRILLS } from '../../src/store/sqlite/drills.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import {
  DEVICES_OF_EPOCH,
  KNOWN_EPOCHS,
  LAST_EPOCH_OF_PAGE,
  NEWEST_EPOCHS,
  STOPS_BETWEEN,
  STOPS_OF_EPOCH,
} from '../../src/store/sqlite/stops.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('stop-plans')

function migrated() {
  const file = newFile()
  const db = openSqlite(file)
  migrate(db, file, CONTROL_PLANE_MIGRATIONS)
  return db
}

function planOf(sql: string): string {
  const db = migrated()
  const steps = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
  db.close()
  return steps.map((step) => String(step['detail'])).join('\n')
}

test.each([
  [
    'since an epoch',
    STOPS_BETWEEN,
    /^SEARCH audit USING INDEX audit_stops \(org_id=\? AND <expr>>\? AND <expr><\?\)$/,
  ],
  [
    'a page',
    LAST_EPOCH_OF_PAGE,
    /^SEARCH audit USING (COVERING )?INDEX audit_stops \(org_id=\? AND <expr>>\?\)$/,
  ],
  ['of one epoch', STOPS_OF_EPOCH, /^SEARCH audit USING INDEX audit_stops \(org_id=\? AND <expr>=\?\)$/],
  [
    'newest first',
    NEWEST_EPOCHS,
    /^SEARCH audit USING (COVERING )?INDEX audit_stops \(org_id=\? AND <expr><\?\)$/,
  ],
])('stops %s are found along their index, and never sorted', (_, sql, plan) => {
  expect(planOf(sql)).toMatch(plan)
})

test('a page of the devices of a stop is read along it, and never sorted', () => {
  const plan = planOf(DEVICES_OF_EPOCH)
  expect(plan).toMatch(/SEARCH audit USING INDEX audit_stops \(org_id=\? AND <expr>=\? AND seq>\?\)/)
  expect(plan).not.toMatch(/SCAN (audit|devices|now)|B-TREE/)
})

test('which epochs are stops is looked up in it', () => {
  const plan = planOf(KNOWN_EPOCHS)
  expect(plan).toMatch(/SEARCH audit EXISTS USING (COVERING )?INDEX audit_stops \(org_id=\? AND <expr>=\?\)/)
  expect(plan).not.toContain('SCAN audit')
})

test('a list of drills reads no report, and never sorts', () => {
  expect(planOf(NEWEST_DRILLS)).toMatch(
    /^SEARCH drills USING COVERING INDEX drills_newest \(org_id=\? AND .*\)$/,
  )
})

test('only stops are in their index: it costs a restore, or an issued key, no page', () => {
  const db = migrated()
  const add = db.prepare(
    `INSERT INTO audit (org_id, seq, prev_hash, hash, id, at_ms, actor, action, after)
     VALUES ('o', ?, '', '', '', 0, '', ?, ?)`,
  )
  const cellsOf = () =>
    Number(db.prepare("SELECT sum(ncell) AS cells FROM dbstat WHERE name = 'audit_stops'").get()?.['cells'])
  add.run(1, 'device.unrevoke', '{"epoch":1}')
  add.run(2, 'key.issue', '{"keyId":"k"}')
  add.run(3, 'key.rotate', '{"keyId":"k"}')
  add.run(4, 'device.revoke', 'not JSON at all')
  expect(cellsOf()).toBe(0)
  add.run(5, 'device.revoke', '{"epoch":2}')
  expect(cellsOf()).toBe(1)
  db.close()
})
