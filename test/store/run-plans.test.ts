import { expect, test } from 'vitest'

import type { RunFilter } from '../../src/agents/hosted/run-store.ts'
import { APPROVALS_OF_RUN, COUNT_WAITING, WAITING_APPROVALS } from '../../src/store/sqlite/approvals.ts'
import { migrate } from '../../src/store/sqlite/migrate.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { listQuery } from '../../src/store/sqlite/run-rows.ts'
import { COUNT_RUNS, LOST_RUNS, NEXT_QUEUED } from '../../src/store/sqlite/run-statements.ts'
import { TOOL_MIGRATIONS } from '../../src/store/sqlite/tool-schema.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('plans')

function planOf(sql: string): string[] {
  const file = newFile()
  const db = openSqlite(file)
  migrate(db, file, TOOL_MIGRATIONS)
  const steps = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
  db.close()
  return steps.map((step) => String(step['detail']))
}

const FILTERS: readonly Omit<RunFilter, 'limit'>[] = [
  {},
  { caller: 'alice' },
  { status: 'interrupted' },
  { agent: 'accounts' },
  { caller: 'alice', status: 'interrupted' },
  { caller: 'alice', agent: 'accounts' },
  { caller: 'alice', status: 'interrupted', agent: 'accounts' },
]

test.each(FILTERS.flatMap((filter) => [filter, { ...filter, beforeRunId: 'run_1' }]))(
  'a list of runs goes along an index, newest first, and never sorts: %o',
  (filter) => {
    const plan = planOf(listQuery({ ...filter, limit: 50 }).sql)
    const own = plan.filter((step) => !step.endsWith('SUBQUERY 1'))
    expect(own.every((step) => / runs USING (COVERING )?INDEX /.test(step))).toBe(true)
    // Only a list of all runs walks along the whole index, until it has enough.
    if (Object.keys(filter).some((name) => name !== 'beforeRunId'))
      expect(own.every((step) => step.startsWith('SEARCH'))).toBe(true)
    expect(plan.join()).not.toContain('run_states')
  },
)

test.each([
  ['the next queued run', NEXT_QUEUED, 'SEARCH runs USING COVERING INDEX runs_queue'],
  ['lost runs', LOST_RUNS, 'SEARCH runs USING INDEX runs_leases'],
  ['counts of runs', COUNT_RUNS, 'SEARCH runs USING COVERING INDEX runs_in'],
  ['approvals that wait', WAITING_APPROVALS, 'SEARCH one USING INDEX approvals_waiting'],
  ['their number', COUNT_WAITING, 'SEARCH approvals USING COVERING INDEX approvals_waiting'],
  ['approvals of a run', APPROVALS_OF_RUN, 'SEARCH one USING INDEX approvals_of_run'],
])('%s: found along an index, without sorting', (_name, sql, step) => {
  const plan = planOf(sql)
  expect(plan.find((one) => one.startsWith(step))).toBeDefined()
  expect(plan.join()).not.toMatch(/SCAN|TEMP B-TREE/)
})
