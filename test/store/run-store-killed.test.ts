import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

import { openSqlite } from '../../src/store/sqlite/open.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import type { ToolStore } from '../../src/store/tool-store.ts'
import { LEASE_MS, newApproval, paused, runActions } from '../contract/runs.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('killed')

/** `run_1` waits for `call_1`; then another process does `action`, and dies at `dieAt`. The store as it is found after. */
async function killed(
  action: 'create' | 'save' | 'decide' | 'begin' | 'settleWith',
  dieAt: string,
  { approved = false } = {},
): Promise<ToolStore & { readonly file: string; readonly pass: (ms: number) => void }> {
  const file = newFile()
  const before = createSqliteToolStore({ file })
  const { saved, approve } = runActions(before.runs)
  await saved('run_1', paused(newApproval('call_1')))
  if (approved) await approve('run_1', 'call_1')
  await before.close()
  const db = openSqlite(file)
  db.exec('CREATE TABLE records (value TEXT) STRICT')
  db.close()

  const child = new URL('run-store-child.ts', import.meta.url).pathname
  const { signal, stdout, stderr } = spawnSync(process.execPath, [child, action, file, dieAt], {
    encoding: 'utf8',
  })
  expect({ signal, stdout, stderr }).toEqual({ signal: 'SIGKILL', stdout: '', stderr: '' })
  let passedMs = 0
  const after = createSqliteToolStore({ file, nowMs: () => Date.now() + passedMs })
  return { ...after, file, pass: (ms) => void (passedMs += ms) }
}

const RUN = { caller: 'alice', runId: 'run_1' }

test('killed after a run was created: it is there, and lost once its lease has passed', async () => {
  const { runs, pass, close } = await killed('create', 'run.created')
  expect(await runs.find('run_2')).toMatchObject({ status: 'running' })
  pass(LEASE_MS)
  expect(await runs.sweepLost()).toEqual(['run_2'])
  expect(await runs.find('run_2')).toMatchObject({ status: 'failed', problem: { code: 'RUN_LOST' } })
  await close()
})

test('R3: killed while a save is written: nothing of it is there, and the run goes back to what it was', async () => {
  const { runs, pass, close } = await killed('save', 'run.saving')
  const { states, status } = runActions(runs)
  expect(await runs.find('run_1')).toMatchObject({ status: 'running', version: 1 })
  expect(await states('run_1')).toEqual({ call_1: 'waiting' })
  pass(LEASE_MS)
  await runs.sweepLost()
  expect(await status('run_1')).toBe('interrupted')
  await close()
})

test('killed after a save: all of it is there', async () => {
  const { runs, close } = await killed('save', 'run.saved')
  expect(await runs.find('run_1')).toMatchObject({ status: 'interrupted', version: 2 })
  expect(await runActions(runs).states('run_1')).toEqual({ call_1: 'ended', call_2: 'waiting' })
  await close()
})

test('R4: killed while a decision is written: it still waits, and nobody has decided', async () => {
  const { runs, close } = await killed('decide', 'approval.deciding')
  expect(await runActions(runs).states('run_1')).toEqual({ call_1: 'waiting' })
  expect(await runs.operatorLog({ limit: 10 })).toEqual([])
  await close()
})

test('killed after a decision: it stands, with who decided', async () => {
  const { runs, close } = await killed('decide', 'approval.decided')
  expect(await runActions(runs).states('run_1')).toEqual({ call_1: 'approved' })
  expect(await runs.operatorLog({ limit: 10 })).toMatchObject([{ by: 'olga', action: 'approval.approve' }])
  await close()
})

test('killed while an intent is written: no intent, and its approval is unused', async () => {
  const { runs, journal, close } = await killed('begin', 'effect.intent_writing', { approved: true })
  const { states, begin } = runActions(runs)
  expect(await journal.listRun(RUN)).toEqual([])
  expect(await states('run_1')).toEqual({ call_1: 'approved' })
  expect(await begin('call_1', 'use_2')).toMatchObject({ state: 'begun' })
  await close()
})

test('E4: killed between the writes of a transactional effect and its COMMIT: neither effect nor outcome', async () => {
  const { runs, journal, file, pass, close } = await killed('settleWith', 'settle.writing', {
    approved: true,
  })
  const { begin } = runActions(runs)
  const db = openSqlite(file)
  const records = () => db.prepare('SELECT value FROM records').all()
  expect(records()).toEqual([])
  expect(await journal.listRun(RUN)).toMatchObject([{ state: 'intent' }])
  pass(LEASE_MS)
  const retaken = await begin('call_1', 'use_2', { retakeUnknown: true })
  if (retaken.state !== 'begun') throw new Error(retaken.state)
  await journal.settleWith?.(retaken.token, () => void db)
  expect(await journal.listRun(RUN)).toMatchObject([{ state: 'done' }])
  db.close()
  await close()
})
