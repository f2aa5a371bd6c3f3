import { beforeAll, beforeEach, describe, expect, test } from 'vitest'

import type { Journal } from '../../../src/guard/journal.ts'
import type { PostgresTransaction } from '../../../src/store/postgres/lent-transaction.ts'
import { intent } from '../../contract/intent.ts'
import { noPostgres } from '../../fixtures/postgres.ts'
import { toolStores } from './tool-stores.ts'

const LEASE_MS = 60_000

describe.skipIf(noPostgres)('effects that write into the journal’s Postgres', () => {
  const { emptied, rows } = toolStores()
  let now: number
  let journal: Required<Journal>

  beforeAll(async () => {
    await emptied()
    await rows('CREATE TABLE records (value TEXT NOT NULL UNIQUE)')
  })
  beforeEach(async () => {
    now = 1_700_000_000_000
    await rows('DELETE FROM records')
    journal = (await emptied(() => now)).journal as Required<Journal>
  })

  const begin = async (retakeUnknown = false, deadlineMs = 30_000): Promise<string> => {
    const asked = intent('k', { transactional: true, deadlineMs })
    const answer = await journal.begin(asked, { leaseMs: LEASE_MS, retakeUnknown })
    if (answer.state !== 'begun') throw new Error(answer.state)
    return answer.token
  }
  const again = () => journal.begin(intent('k'), { leaseMs: LEASE_MS })
  const written = async () =>
    (await rows('SELECT value FROM records ORDER BY value')).map(({ value }) => value)
  const state = async () => (await journal.listRun({ caller: 'alice', runId: 'run_1' }))[0]?.state
  const write = (transaction: unknown, value: string | null = 'written') =>
    (transaction as PostgresTransaction).query('INSERT INTO records VALUES ($1) RETURNING value', [value])

  test('E4: what the effect wrote and its outcome are there together, and the result is replayed', async () => {
    const settled = await journal.settleWith(await begin(), async (transaction) => {
      const { rows: inserted, rowCount } = await write(transaction)
      return { inserted, rowCount }
    })
    const value = { inserted: [{ value: 'written' }], rowCount: 1 }
    expect(settled).toEqual({ committed: true, value })
    expect(await written()).toEqual(['written'])
    expect(await again()).toEqual({ state: 'done', result: JSON.stringify(value) })
  })

  test('G3: the effect begins in the tick that asks for it, and its statements come in order', async () => {
    const token = await begin()
    let begun = false
    const settling = journal.settleWith(token, (transaction) => {
      begun = true
      return Promise.all([write(transaction, 'b'), write(transaction, 'a')])
    })
    expect(begun).toBe(true)
    expect(await settling).toMatchObject({ committed: true })
    expect(await written()).toEqual(['a', 'b'])
  })

  test('E4: another connection sees both or none, and is told that it runs', async () => {
    await journal.settleWith(await begin(), async (transaction) => {
      await write(transaction)
      expect(await written()).toEqual([])
      expect(await again()).toEqual({ state: 'running' })
      const other = await journal.begin(intent('k', { inputDigest: 'other' }), { leaseMs: LEASE_MS })
      expect(other).toEqual({ state: 'conflict' })
    })
    expect(await written()).toEqual(['written'])
    expect(await state()).toBe('done')
  })

  test('E4: one that outlives its lease is still running to everybody: its row is locked', async () => {
    await journal.settleWith(await begin(), async (transaction) => {
      await write(transaction)
      now += LEASE_MS
      const answer = await journal.begin(intent('k'), { leaseMs: LEASE_MS, retakeUnknown: true })
      expect(answer).toEqual({ state: 'running' })
    })
    expect(await state()).toBe('done')
  })

  test.each<[string, (transaction: unknown) => unknown]>([
    [
      'throws at once',
      (transaction) => {
        void write(transaction)
        throw new Error('no stock')
      },
    ],
    [
      'rejects',
      async (transaction) => {
        await write(transaction)
        throw new Error('no stock')
      },
    ],
    ['breaks a rule of the database', async (transaction) => write(transaction, null)],
    ['leaves a statement alone that fails', (transaction) => void write(transaction, null)],
    [
      'hides that a statement has failed',
      async (transaction) => write(transaction, null).catch(() => 'all is well'),
    ],
  ])('E4: an effect that %s is rolled back, surely, and the journal goes on', async (_name, work) => {
    const token = await begin()
    expect(await journal.settleWith(token, work)).toMatchObject({ committed: false })
    expect(await written()).toEqual([])
    expect(await state()).toBe('intent')
    expect(await journal.settle(token, { state: 'failed' })).toBe(true)
    expect(await journal.settleWith(await begin(), (transaction) => write(transaction))).toMatchObject({
      committed: true,
    })
  })

  test.each([
    'COMMIT',
    '/* a /* b */ */ COMMIT',
    ' -- x\n;;end',
    '-- x\rCOMMIT',
    'Rollback',
    "PREPARE TRANSACTION 'x'",
    'BEGIN',
  ])('E4: an effect cannot end its transaction: %s is not sent', async (text) => {
    const settled = await journal.settleWith(await begin(), async (transaction) => {
      await write(transaction)
      await (transaction as PostgresTransaction).query(text)
    })
    expect(settled).toMatchObject({ committed: false, thrown: { code: 'TRANSACTION_ENDED' } })
    expect(await written()).toEqual([])
  })

  test('a part of it can be taken back', async () => {
    await journal.settleWith(await begin(), async (transaction) => {
      const { query } = transaction as PostgresTransaction
      await query('SAVEPOINT here')
      await write(transaction, 'first')
      await query('ROLLBACK TO SAVEPOINT here')
      await write(transaction, 'second')
    })
    expect(await written()).toEqual(['second'])
  })

  test('E4: what is left of an effect that has settled writes nothing any more', async () => {
    let lent: unknown
    await journal.settleWith(
      await begin(),
      (transaction) => (lent = transaction) && write(transaction, 'within'),
    )
    await expect(write(lent, 'later')).rejects.toMatchObject({ code: 'TRANSACTION_OVER' })
    expect(await written()).toEqual(['within'])
  })

  test('E4: an effect that takes longer than its deadline is rolled back', async () => {
    const settled = await journal.settleWith(await begin(false, 50), async (transaction) => {
      await write(transaction)
      await new Promise(() => {})
    })
    expect(settled).toMatchObject({ committed: false, thrown: { code: 'TRANSACTION_TIMEOUT' } })
    expect(await written()).toEqual([])
  })

  test('an attempt that is no longer ours writes nothing, and what another one did is not known', async () => {
    const first = await begin()
    now += LEASE_MS
    const second = await begin(true)
    await expect(
      journal.settleWith(first, (transaction) => write(transaction, 'first')),
    ).rejects.toMatchObject({
      code: 'ATTEMPT_LOST',
    })
    await journal.settleWith(second, (transaction) => write(transaction, 'second'))
    await expect(
      journal.settleWith(second, (transaction) => write(transaction, 'again')),
    ).rejects.toMatchObject({
      code: 'ATTEMPT_LOST',
    })
    expect(await written()).toEqual(['second'])
  })

  test('what an effect set for its session is gone for the next one', async () => {
    for (const key of ['a', 'b', 'c', 'd']) {
      const begun = await journal.begin(intent(key, { transactional: true }), { leaseMs: LEASE_MS })
      if (begun.state !== 'begun') throw new Error(begun.state)
      const settled = await journal.settleWith(begun.token, async (transaction) => {
        await write(transaction, key)
        await (transaction as PostgresTransaction).query('SET search_path = public')
      })
      expect(settled).toMatchObject({ committed: true })
    }
  })

  test('connections are given back: by outcomes, and by attempts that do not begin', async () => {
    for (let at = 0; at < 8; at += 1) {
      const token = await begin()
      expect(await again()).toEqual({ state: 'running' })
      await journal.settle(token, { state: at % 2 === 0 ? 'denied' : 'failed' })
    }
    await journal.settle(await begin(), { state: 'done', result: undefined })
    const asked = intent('k', { transactional: true })
    for (let at = 0; at < 8; at += 1)
      expect((await journal.begin(asked, { leaseMs: LEASE_MS })).state).toBe('done')
  })

  test('an unknown outcome of a transactional effect is told to be none: it would be stored', async () => {
    await begin()
    now += LEASE_MS
    expect(await again()).toEqual({ state: 'unknown', sinceFirstAttemptMs: LEASE_MS, notPerformed: true })
  })
})
