import { expect, test } from 'vitest'

import {
  COUNT_WAITING,
  DUE_APPROVALS,
  OTHER_APPROVALS,
  WAITING_APPROVALS,
} from '../../../src/store/sqlite/control-plane-approvals.ts'
import { CONTROL_PLANE_MIGRATIONS } from '../../../src/store/sqlite/control-plane-schema.ts'
import { migrate } from '../../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../../src/store/sqlite/open.ts'
import { NEWEST_RUNS } from '../../../src/store/sqlite/run-reports.ts'
import { temporaryFiles } from '../../fixtures/temporary-files.ts'

const newFile = temporaryFiles('desk-plans')

// The console asks every few seconds, and each tool server every other.
test.each([
  ['those that wait', WAITING_APPROVALS, 'SEARCH approvals USING INDEX approvals_waiting'],
  ['the others', OTHER_APPROVALS, 'SEARCH approvals USING INDEX approvals_others'],
  ['how many wait', COUNT_WAITING, 'SEARCH approvals USING COVERING INDEX approvals_waiting'],
  ['what has expired', DUE_APPROVALS, 'SEARCH approvals USING INDEX approvals_expiry'],
  ['the newest runs', NEWEST_RUNS, 'SEARCH reported_runs USING INDEX reported_runs_newest'],
])('%s are found along an index, and never sorted', (_, sql, found) => {
  const file = newFile()
  const db = openSqlite(file)
  migrate(db, file, CONTROL_PLANE_MIGRATIONS)
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
  db.close()
  expect(plan).toHaveLength(1)
  expect(String(plan[0]?.['detail'])).toContain(found)
})
