import { describe, expect, test } from 'vitest'

import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { describeRunStore } from '../contract/run-store.ts'
import { LEASE_MS, newApproval, paused, queuedRun, runActions, runSave } from '../contract/runs.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('runs')

describeRunStore('sqlite', (nowMs) => createSqliteToolStore({ file: newFile(), nowMs }).runs)

describe('two connections on one SQLite file', () => {
  async function two() {
    const file = newFile()
    const stores = [createSqliteToolStore({ file }), createSqliteToolStore({ file })] as const
    return { stores, close: () => Promise.all(stores.map((store) => store.close())) }
  }

  test('R1: in 100 rounds of claims at once, each run gets one owner, and the loser hears that it runs', async () => {
    const { stores, close } = await two()
    for (let round = 0; round < 100; round += 1) {
      const runId = `run_${round}`
      await runActions(stores[round % 2 === 0 ? 0 : 1].runs).saved(runId, paused())
      const claims = await Promise.all(stores.map((store) => store.runs.claim(runId, LEASE_MS)))
      const answers = claims.map((claim) => (claim?.claimed === true ? 'won' : claim?.why))
      expect(answers.toSorted()).toEqual(['running', 'won'])
      const [winner] = claims.filter((claim) => claim?.claimed === true)
      expect(await stores[0].runs.save(winner?.token ?? '', runSave('completed'))).toBe(true)
    }
    await close()
  })

  test('R1: of a queued run one becomes the owner', async () => {
    const { stores, close } = await two()
    for (let round = 0; round < 20; round += 1) {
      await stores[0].runs.create(queuedRun(`run_${round}`), LEASE_MS)
      const picked = await Promise.all(stores.map((store) => store.runs.claimQueued(LEASE_MS)))
      expect(picked.filter((one) => one !== undefined)).toHaveLength(1)
    }
    await close()
  })

  test('an approval given through one is used once through both', async () => {
    const { stores, close } = await two()
    await runActions(stores[0].runs).saved('run_1', paused(newApproval('call_1')))
    await runActions(stores[1].runs).approve('run_1', 'call_1')
    const uses = await Promise.all(
      stores.map((store, at) =>
        store.runs.useApproval({ approvalId: 'approval_call_1', useToken: `use_${at}` }),
      ),
    )
    expect(uses.toSorted()).toEqual(['used', undefined])
    await close()
  })
})

test('a closed store refuses, and closing it again is nothing', async () => {
  const { runs, journal, close } = createSqliteToolStore({ file: newFile() })
  await runs.close()
  await journal.close()
  await close()
  await expect(runs.claim('run_1', LEASE_MS)).rejects.toThrow()
  await expect(runs.list({ limit: 1 })).rejects.toThrow()
})

test('the journal of the store is the one that its approvals are used up in', async () => {
  const { runs, journal, close } = createSqliteToolStore({ file: newFile() })
  expect(runs.journal).toBe(journal)
  await close()
})
