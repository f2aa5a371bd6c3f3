import { expect, test } from 'vitest'

import { openSqlite } from '../../src/store/sqlite/open.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { intent } from '../contract/intent.ts'
import { DENIAL, LEASE_MS, newApproval, paused, queuedRun, runActions, runSave } from '../contract/runs.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('forget-old')
const RETENTION_MS = 30 * 24 * 60 * 60 * 1000
const TABLES = ['runs', 'run_states', 'run_steps', 'approvals']

test('runs that ended 30 days ago are forgotten with their steps and approvals when the file is opened', async () => {
  const file = newFile()
  let now = 1_700_000_000_000
  const open = () => createSqliteToolStore({ file, nowMs: () => now })
  const first = open()
  const { saved, claimed } = runActions(first.runs)
  for (const status of ['completed', 'denied', 'failed', 'cancelled'] as const) {
    await saved(`${status} before`, paused(newApproval(`call of ${status}`)))
    await first.runs.addSteps(`${status} before`, [
      { atMs: now, type: 'model_response', detail: '{}' },
    ] as never)
    const token = await claimed(`${status} before`)
    await first.runs.save(token, runSave(status, status === 'denied' ? { denial: DENIAL } : {}))
  }
  await first.close()
  now += RETENTION_MS - 1
  await open().close()
  expect(counts(file)).toEqual([4, 4, 4, 4])
  now += 1
  await open().close()
  expect(counts(file)).toEqual([0, 0, 0, 0])
})

test('a run that can go on is kept, however old it is', async () => {
  const file = newFile()
  let now = 1_700_000_000_000
  const first = createSqliteToolStore({ file, nowMs: () => now })
  const { saved, created } = runActions(first.runs)
  await saved('paused', paused(newApproval('call_1')))
  await saved('denied', runSave('denied', { denial: DENIAL, resumable: true, state: new Uint8Array([1]) }))
  await saved('failed', runSave('failed', { resumable: true, state: new Uint8Array([1]) }))
  await created('running')
  await first.runs.create(queuedRun('queued', RETENTION_MS * 2), LEASE_MS)
  await saved('ended', runSave('completed'))
  await first.close()
  now += RETENTION_MS * 2
  const second = createSqliteToolStore({ file, nowMs: () => now })
  const left = await second.runs.list({ limit: 9 })
  expect(left.map(({ runId }) => runId).toSorted()).toEqual([
    'denied',
    'failed',
    'paused',
    'queued',
    'running',
  ])
  await second.close()
})

test('a run is kept while nobody knows how an effect of it ended; then the effect stays, and is never repeated', async () => {
  const file = newFile()
  let now = 1_700_000_000_000
  const open = () => createSqliteToolStore({ file, nowMs: () => now })
  const first = open()
  await runActions(first.runs).saved('run_1', runSave('completed'))
  const begun = await first.journal.begin(intent(), { leaseMs: LEASE_MS })
  if (begun.state !== 'begun') throw new Error(begun.state)
  await first.journal.settle(begun.token, { state: 'unknown' })
  await first.close()
  now += RETENTION_MS
  const second = open()
  expect(await second.runs.find('run_1')).toBeDefined()
  await second.journal.resolveUnknown('k', { state: 'done', result: '1' }, { by: 'olga', reason: 'seen' })
  await second.close()
  const third = open()
  expect(await third.runs.find('run_1')).toBeUndefined()
  expect(await third.journal.begin(intent(), { leaseMs: LEASE_MS })).toEqual({ state: 'done', result: '1' })
  expect(await third.runs.operatorLog({ runId: 'run_1', limit: 9 })).toHaveLength(1)
  await third.close()
})

function counts(file: string): number[] {
  const db = openSqlite(file, { readOnly: true })
  const rows = TABLES.map((table) =>
    Number(db.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.['rows']),
  )
  db.close()
  return rows
}
