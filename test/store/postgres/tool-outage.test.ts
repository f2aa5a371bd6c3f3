import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'

import type { CrashPoint } from '../../../src/guard/crash-points.ts'
import type { Journal } from '../../../src/guard/journal.ts'
import type { PostgresTransaction } from '../../../src/store/postgres/lent-transaction.ts'
import type { ToolStore } from '../../../src/store/tool-store.ts'
import { intent } from '../../contract/intent.ts'
import { LEASE_MS, newApproval, paused, runActions } from '../../contract/runs.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { openPostgresTables } from '../../../tools/postgres-tables.ts'
import { toolStores } from './tool-stores.ts'

const UNKNOWN = { code: 'STORE_OUTCOME_UNKNOWN' }

// A COMMIT that waits for a standby is carried out when that wait ends, at the latest when we give it up. Where Postgres is
// killed before, it never is.
describe.skipIf(noPostgres)('a COMMIT that is not answered', () => {
  const { emptied, open, rows, server, url } = toolStores()
  let at: Partial<Record<CrashPoint, () => void>> = {}
  let store: ToolStore
  let nowMs: number
  let journal: Required<Journal>

  beforeAll(async () => {
    await emptied()
    await rows('CREATE TABLE records (value TEXT)')
  })
  beforeEach(async () => {
    await standby('')
    await emptied()
    await rows('DELETE FROM records')
    at = {}
    nowMs = 1_700_000_000_000
    store = await open({
      poolSize: 2,
      timeoutMs: 400,
      nowMs: () => nowMs,
      atCrashPoint: (point) => at[point]?.(),
    })
    journal = store.journal as Required<Journal>
  })
  afterEach(() => store.close())

  const killAt = (point: CrashPoint) => {
    at[point] = () => {
      at = {}
      server().kill()
    }
  }
  const begin = (what = intent('k'), retakeUnknown = false) =>
    journal.begin(what, { leaseMs: LEASE_MS, retakeUnknown })
  const begun = async (what = intent('k')) => {
    const answer = await begin(what)
    if (answer.state !== 'begun') throw new Error(answer.state)
    return answer.token
  }
  const stored = async () => (await rows('SELECT state FROM effect_journal')).map(({ state }) => state)
  const mended = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 8000, interval: 20 })

  test('of an intent: nothing ran, the intent that is there is taken back, and the key is free', async () => {
    await standby('nobody')
    await expect(begin()).rejects.toMatchObject(UNKNOWN)
    await standby('')
    // By now it did happen.
    await mended(async () => expect(await begin()).toMatchObject({ state: 'begun' }))
  })

  test('of an intent that takes an unknown outcome over: it stays as unknown as it was', async () => {
    await journal.settle(await begun(), { state: 'unknown' })
    await standby('nobody')
    await expect(begin(intent('k'), true)).rejects.toMatchObject(UNKNOWN)
    await standby('')
    await mended(async () => expect(await begin()).toMatchObject({ state: 'unknown' }))
    expect(await stored()).toEqual(['unknown'])
  })

  test('of an intent, when Postgres died: nothing is there', async () => {
    killAt('effect.intent_writing')
    await expect(begin()).rejects.toMatchObject({
      code: expect.stringMatching(/OUTCOME_UNKNOWN|UNREACHABLE/),
    })
    await expect(begin()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    await server().start()
    expect(await stored()).toEqual([])
    expect(await begin()).toMatchObject({ state: 'begun' })
  })

  test('of an intent that used an approval up: the call may go on under it', async () => {
    const actions = runActions(store.runs)
    await actions.saved('run_1', paused(newApproval('call_1')))
    await actions.approve('run_1', 'call_1')
    await standby('nobody')
    await expect(actions.begin('call_1', 'use_1')).rejects.toMatchObject(UNKNOWN)
    await standby('')
    await mended(async () => expect(await actions.begin('call_1', 'use_2')).toMatchObject({ state: 'begun' }))
  })

  test('of an outcome: it is stored once Postgres is back, since what has happened stays true', async () => {
    const token = await begun()
    server().kill()
    await expect(journal.settle(token, { state: 'done', result: '"paid"' })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    })
    await server().start()
    await mended(async () => expect(await begin()).toEqual({ state: 'done', result: '"paid"' }))
  })

  describe('E4: of a transactional effect', () => {
    const effect = intent('k', { transactional: true })
    const write = (transaction: unknown) =>
      (transaction as PostgresTransaction).query("INSERT INTO records VALUES ('written')")

    test('when Postgres dies before: nothing was written, and that is told', async () => {
      const token = await begun(effect)
      const settled = journal.settleWith(token, async (transaction) => {
        await write(transaction)
        server().kill()
        await write(transaction)
      })
      expect(await settled).toMatchObject({ committed: false, thrown: { code: 'STORE_UNREACHABLE' } })
      await server().start()
      expect(await rows('SELECT * FROM records')).toEqual([])
      expect(await journal.settle(token, { state: 'failed' })).toBe(true)
    })

    test('while its COMMIT waits for a standby nobody is told that nothing was written; then the next look tells', async () => {
      const token = await begun(effect)
      await standby('nobody')
      const settling = journal.settleWith(token, write)
      const unanswered = expect(settling).rejects.toMatchObject(UNKNOWN)
      await mended(async () => expect(await waiting()).toBe(1))
      expect(await rows('SELECT value FROM records')).toEqual([])
      nowMs += LEASE_MS
      const overdue = expect(journal.settle(token, { state: 'unknown' })).rejects.toMatchObject({
        code: expect.stringMatching(/^STORE_(?:BUSY|TIMEOUT)$/),
      })
      expect(await begin(effect, true)).toEqual({ state: 'running' })
      await Promise.all([overdue, unanswered])
      // The standby is still not there, and Postgres waits for it no more than we do.
      await mended(async () => expect(await begin(effect)).toMatchObject({ state: 'done' }))
      expect(await rows('SELECT value FROM records')).toEqual([{ value: 'written' }])
      expect(await waiting('holdpoint transactional effects')).toBe(0)
    })
  })

  test('keeps no connection of the server once we have given it up, however many there were', async () => {
    const tables = await openPostgresTables({ url: url(), poolSize: 2, timeoutMs: 400 })
    await standby('nobody')
    const insert = (n: number) =>
      ['INSERT INTO holdpoint_accounts.records VALUES ($1::text, $1)', [`${n}`]] as const
    for (let round = 0; round < 3; round++) {
      const asked = await Promise.allSettled([
        begin(intent(`a${round}`)),
        begin(intent(`b${round}`)),
        tables.query(...insert(2 * round)),
        tables.transact((query) => query(...insert(2 * round + 1))),
      ])
      expect(asked.map(({ status }) => status)).toEqual(Array(4).fill('rejected'))
    }
    await mended(async () => expect(await waiting('holdpoint accounts tools')).toBe(0))
    // What is mended goes on, by the connections of its pool.
    await mended(async () => expect(await waiting('holdpoint tool server')).toBeLessThanOrEqual(2))
    await tables.close()
  })

  const waiting = async (name = '%') => {
    const [row] = await rows(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE $1",
      [name],
    )
    return row?.['n']
  }

  /** Commits wait for a standby of that name, until their time is over. */
  async function standby(name: string): Promise<void> {
    await server().configure(`synchronous_standby_names = '${name}'`)
    server().reload()
    await mended(async () =>
      expect(await rows('SHOW synchronous_standby_names')).toEqual([{ synchronous_standby_names: name }]),
    )
  }
})
