import { spawn } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { Journal } from '../../../src/guard/journal.ts'
import type { PostgresTransaction } from '../../../src/store/postgres/lent-transaction.ts'
import type { ToolStore } from '../../../src/store/tool-store.ts'
import { intent } from '../../contract/intent.ts'
import { LEASE_MS, newApproval, paused, queuedRun, runActions, runSave } from '../../contract/runs.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { toolStores } from './tool-stores.ts'

const ROUNDS = 15

describe.skipIf(noPostgres)('three replicas on one Postgres', () => {
  const { open, rows, url } = toolStores()
  let replicas: readonly ToolStore[]
  let first: ToolStore
  const all = <T>(ask: (store: ToolStore, at: number) => Promise<T>) => Promise.all(replicas.map(ask))

  beforeAll(async () => {
    // All at once: one of them makes the tables.
    replicas = await Promise.all(Array.from({ length: 3 }, () => open()))
    first = replicas[0] as ToolStore
    await rows('CREATE TABLE paid (invoice TEXT NOT NULL)')
  })
  afterAll(() => all((store) => store.close()))

  test('E1: the same key begun by all at once has one owner, round after round', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const begun = await all((store) => store.journal.begin(intent(`key ${round}`), { leaseMs: LEASE_MS }))
      expect(begun.map(({ state }) => state).toSorted()).toEqual(['begun', 'running', 'running'])
    }
  })

  test('E1, E4: the same business key on all at once is paid exactly once', async () => {
    const pay = async ({ journal }: ToolStore, invoice: string): Promise<string> => {
      const asked = intent(invoice, { transactional: true, runId: 'payments' })
      const begun = await journal.begin(asked, { leaseMs: LEASE_MS })
      if (begun.state !== 'begun') return begun.state
      const { settleWith } = journal as Required<Journal>
      await settleWith(begun.token, (transaction) =>
        (transaction as PostgresTransaction).query('INSERT INTO paid VALUES ($1)', [invoice]),
      )
      return 'paid'
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      const states = await all((store) => pay(store, `INV-${round}`))
      expect(states.filter((state) => state === 'paid')).toHaveLength(1)
      expect(await all((store) => pay(store, `INV-${round}`))).toEqual(['done', 'done', 'done'])
    }
    const twice = await rows('SELECT invoice FROM paid GROUP BY invoice HAVING count(*) <> 1')
    expect(twice).toEqual([])
    expect(await rows('SELECT count(*)::int AS paid FROM paid')).toEqual([{ paid: ROUNDS }])
  })

  test('R1: the same run resumed by all at once has one owner, and the others hear that it runs', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const runId = `resumed_${round}`
      await runActions(first.runs).saved(runId, paused())
      const claims = await all((store) => store.runs.claim(runId, LEASE_MS))
      const answers = claims.map((claim) => (claim?.claimed === true ? 'won' : claim?.why))
      expect(answers.toSorted()).toEqual(['running', 'running', 'won'])
    }
  })

  test('R1: each queued run is picked by one of them', async () => {
    for (let round = 0; round < ROUNDS; round += 1)
      await first.runs.create(queuedRun(`queued_${round}`), LEASE_MS)
    const picked: string[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const some = await all((store) => store.runs.claimQueued(LEASE_MS))
      picked.push(...some.flatMap((one) => one?.run.runId ?? []))
    }
    expect(picked.toSorted()).toEqual(Array.from({ length: ROUNDS }, (_, at) => `queued_${at}`).toSorted())
  })

  test('a run that one has paused, another approves, and a third resumes and ends', async () => {
    const [one, other, third] = replicas.map(({ runs }) => runActions(runs))
    await one?.saved('handed_on', paused(newApproval('call_handed')))
    await other?.approve('handed_on', 'call_handed')
    const token = (await third?.claimed('handed_on')) as string
    expect(await third?.begin('call_handed', 'use_1', { runId: 'handed_on' })).toMatchObject({
      state: 'begun',
    })
    expect(await replicas[2]?.runs.save(token, runSave('completed'))).toBe(true)
    expect(await one?.status('handed_on')).toBe('completed')
  })

  test('an approval is used by one of all that would', async () => {
    await runActions(first.runs).saved('approved', paused(newApproval('call_once')))
    await runActions(first.runs).approve('approved', 'call_once')
    const uses = await all((store, at) =>
      store.runs.useApproval({ approvalId: 'approval_call_once', useToken: `use_${at}` }),
    )
    expect(uses.toSorted()).toEqual(['used', 'used', undefined])
  })

  test('leases are dated by the database: a replica whose own clock is an hour ahead takes nothing over', async () => {
    await runActions(first.runs).created('leased')
    const begun = await first.journal.begin(intent('leased'), { leaseMs: LEASE_MS })
    expect(begun.state).toBe('begun')
    const child = new URL('tool-store-child.ts', import.meta.url).pathname
    const answer = await output(child, ['look', url(), '3600000'])
    expect(JSON.parse(answer)).toEqual({ begin: 'running', claim: 'running', lost: [], aheadMs: 3_600_000 })
  })
})

async function output(program: string, args: string[]): Promise<string> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  return (await child.stdout.setEncoding('utf8').toArray()).join('')
}
