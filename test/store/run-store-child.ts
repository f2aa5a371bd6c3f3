// A process of its own for run-store-killed.test.ts: does one thing to a store, and dies by kill -9 at a named instant.
import type { DatabaseSync } from 'node:sqlite'

import type { CrashPoint } from '../../src/guard/crash-points.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { LEASE_MS, newApproval, newRun, paused, runActions } from '../contract/runs.ts'

const [action, file = '', dieAt] = process.argv.slice(2)
const dieIf = (point: CrashPoint | 'settle.writing') => {
  if (point === dieAt) process.kill(process.pid, 'SIGKILL')
}
const { runs, journal } = createSqliteToolStore({ file, atCrashPoint: dieIf })
const { claimed, approve, begin } = runActions(runs)

switch (action) {
  case 'create':
    await runs.create(newRun('run_2'), LEASE_MS)
    break
  case 'save':
    await runs.save(await claimed('run_1'), paused(newApproval('call_2')))
    break
  case 'decide':
    await approve('run_1', 'call_1')
    break
  case 'begin':
    await begin('call_1', 'use_1')
    break
  default: {
    const begun = await begin('call_1', 'use_1')
    if (begun.state !== 'begun') throw new Error(begun.state)
    await journal.settleWith?.(begun.token, (transaction) => {
      ;(transaction as DatabaseSync).exec("INSERT INTO records VALUES ('paid')")
      dieIf('settle.writing')
    })
  }
}
console.log('lived')
