// A process of its own: does one thing to a store in Postgres, and dies by kill -9 at a named instant, or prints what it saw.
import type { CrashPoint } from '../../../src/guard/crash-points.ts'
import type { Journal } from '../../../src/guard/journal.ts'
import type { PostgresTransaction } from '../../../src/store/postgres/lent-transaction.ts'
import { createPostgresToolStore } from '../../../src/store/postgres/tool-store.ts'
import { intent } from '../../contract/intent.ts'
import { LEASE_MS, newApproval, newRun, paused, runActions } from '../../contract/runs.ts'

const [action, url = '', given = ''] = process.argv.slice(2)
const dieIf = (point: CrashPoint | 'settle.writing') => {
  if (point === given) process.kill(process.pid, 'SIGKILL')
}
const store = await createPostgresToolStore({ url, poolSize: 2, timeoutMs: 5000, atCrashPoint: dieIf })
const { runs, journal } = store
const { claimed, approve, begin } = runActions(runs)

async function look() {
  const aheadMs = Number(given)
  const now = Date.now
  Date.now = () => now() + aheadMs
  const claim = await runs.claim('leased', LEASE_MS)
  const seen = {
    begin: (await journal.begin(intent('leased'), { leaseMs: LEASE_MS })).state,
    claim: claim?.claimed === true ? 'claimed' : claim?.why,
    lost: await runs.sweepLost(),
    aheadMs: Math.round((Date.now() - now()) / 1000) * 1000,
  }
  await store.close()
  return JSON.stringify(seen)
}

async function settle() {
  const begun = await begin('call_1', 'use_1', { transactional: true })
  if (begun.state !== 'begun') throw new Error(begun.state)
  await (journal as Required<Journal>).settleWith(begun.token, async (transaction) => {
    await (transaction as PostgresTransaction).query("INSERT INTO records VALUES ('paid')")
    dieIf('settle.writing')
  })
}

switch (action) {
  case 'look':
    console.log(await look())
    break
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
  default:
    await settle()
}
if (action !== 'look') console.log('lived')
