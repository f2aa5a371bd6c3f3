import { spawnSync } from 'node:child_process'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import type { Journal } from '../../../src/guard/journal.ts'
import type { ToolStore } from '../../../src/store/tool-store.ts'
import { LEASE_MS, newApproval, paused, runActions } from '../../contract/runs.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { toolStores } from './tool-stores.ts'

const RUN = { caller: 'alice', runId: 'run_1' }
const CHILD = new URL('tool-store-child.ts', import.meta.url).pathname

describe.skipIf(noPostgres)('a replica that is killed: what another one finds', () => {
  const { emptied, open, rows, url } = toolStores()
  let passedMs = 0
  let after: ToolStore
  beforeAll(async () => {
    await emptied()
    await rows('CREATE TABLE records (value TEXT)')
    after = await open({ nowMs: () => Date.now() + passedMs })
  })
  afterAll(() => after.close())
  afterEach(() => {
    passedMs = 0
  })
  const pass = (ms: number) => void (passedMs += ms)

  /** `run_1` waits for `call_1`; then another process does `action`, and dies at `dieAt`. */
  async function killed(action: string, dieAt: string, { approved = false } = {}): Promise<ToolStore> {
    await emptied()
    const { saved, approve } = runActions(after.runs)
    await saved('run_1', paused(newApproval('call_1')))
    if (approved) await approve('run_1', 'call_1')
    const { signal, stdout, stderr } = spawnSync(process.execPath, [CHILD, action, url(), dieAt], {
      encoding: 'utf8',
    })
    expect({ signal, stdout, stderr }).toEqual({ signal: 'SIGKILL', stdout: '', stderr: '' })
    // Postgres hears of a death a moment later, and until then what it had locked is nobody's.
    await expect.poll(openTransactions).toEqual([])
    return after
  }

  const openTransactions = () =>
    rows(`SELECT query FROM pg_stat_activity
      WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`)

  test('after a run was created: it is there, and lost once its lease has passed', async () => {
    const { runs } = await killed('create', 'run.created')
    expect(await runs.find('run_2')).toMatchObject({ status: 'running' })
    pass(LEASE_MS)
    expect(await runs.sweepLost()).toEqual(['run_2'])
    expect(await runs.find('run_2')).toMatchObject({ status: 'failed', problem: { code: 'RUN_LOST' } })
  })

  test('R3: while a save is written: nothing of it is there, and the run goes back to what it was', async () => {
    const { runs } = await killed('save', 'run.saving')
    expect(await runs.find('run_1')).toMatchObject({ status: 'running', version: 1 })
    expect(await runActions(runs).states('run_1')).toEqual({ call_1: 'waiting' })
    pass(LEASE_MS)
    await runs.sweepLost()
    expect(await runActions(runs).status('run_1')).toBe('interrupted')
  })

  test('after a save: all of it is there', async () => {
    const { runs } = await killed('save', 'run.saved')
    expect(await runs.find('run_1')).toMatchObject({ status: 'interrupted', version: 2 })
    expect(await runActions(runs).states('run_1')).toEqual({ call_1: 'ended', call_2: 'waiting' })
  })

  test('R4: while a decision is written: it still waits, and nobody has decided', async () => {
    const { runs } = await killed('decide', 'approval.deciding')
    expect(await runActions(runs).states('run_1')).toEqual({ call_1: 'waiting' })
    expect(await runs.operatorLog({ limit: 10 })).toEqual([])
  })

  test('while an intent is written: no intent, and its approval is unused', async () => {
    const { runs, journal } = await killed('begin', 'effect.intent_writing', { approved: true })
    expect(await journal.listRun(RUN)).toEqual([])
    expect(await runActions(runs).states('run_1')).toEqual({ call_1: 'approved' })
    expect(await runActions(runs).begin('call_1', 'use_2')).toMatchObject({ state: 'begun' })
  })

  test('E4: between the writes of a transactional effect and its COMMIT: neither effect nor outcome', async () => {
    const { runs, journal } = await killed('settleWith', 'settle.writing', { approved: true })
    const { begin } = runActions(runs)
    expect(await rows('SELECT value FROM records')).toEqual([])
    pass(LEASE_MS)
    expect(await begin('call_1', 'use_2')).toMatchObject({ state: 'unknown', notPerformed: true })
    const retaken = await begin('call_1', 'use_2', { retakeUnknown: true, transactional: true })
    if (retaken.state !== 'begun') throw new Error(retaken.state)
    await (journal as Required<Journal>).settleWith(retaken.token, () => 'paid')
    expect(await journal.listRun(RUN)).toMatchObject([{ state: 'done' }])
  })
})
