import type { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'

import type { Journal } from '../../src/guard/journal.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { intent } from '../contract/intent.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const LEASE_MS = 60_000
const newFile = temporaryFiles('settle-with')
let now: number
let journal: Journal & Required<Pick<Journal, 'settleWith'>>
let other: DatabaseSync

beforeEach(() => {
  const file = newFile()
  now = 1_700_000_000_000
  journal = createSqliteJournal({ file, nowMs: () => now }) as typeof journal
  other = openSqlite(file)
  other.exec('CREATE TABLE records (value TEXT NOT NULL) STRICT')
})
afterEach(async () => {
  other.close()
  await journal.close()
})

const begin = async (retakeUnknown = false): Promise<string> => {
  const answer = await journal.begin(intent('k', { transactional: true }), {
    leaseMs: LEASE_MS,
    retakeUnknown,
  })
  if (answer.state !== 'begun') throw new Error(answer.state)
  return answer.token
}
const records = () => other.prepare('SELECT value FROM records').all()
const state = async () => (await journal.listRun({ caller: 'alice', runId: 'run_1' }))[0]?.state
const write =
  (value: string | null = 'written') =>
  (transaction: unknown) => {
    ;(transaction as DatabaseSync).prepare('INSERT INTO records VALUES (?)').run(value)
    return { value }
  }

test('E4: what the effect wrote and its outcome are there together, and the result is replayed', async () => {
  const token = await begin()
  expect(await journal.settleWith(token, write())).toEqual({ committed: true, value: { value: 'written' } })
  expect(records()).toEqual([{ value: 'written' }])
  expect(await journal.begin(intent(), { leaseMs: LEASE_MS })).toEqual({
    state: 'done',
    result: '{"value":"written"}',
  })
})

test('E4: an outcome that cannot be stored takes back what the effect wrote', async () => {
  const token = await begin()
  other.exec(`CREATE TRIGGER no_outcome BEFORE UPDATE ON effect_journal WHEN NEW.state = 'done'
    BEGIN SELECT RAISE (ABORT, 'no outcome'); END`)
  expect(await journal.settleWith(token, write())).toMatchObject({ committed: false })
  expect(records()).toEqual([])
  expect(await state()).toBe('intent')
})

test('E4: another connection sees both or none', async () => {
  const token = await begin()
  await journal.settleWith(token, (transaction) => {
    write()(transaction)
    expect(records()).toEqual([])
  })
  expect(records()).toHaveLength(1)
  expect(await state()).toBe('done')
})

test('the effect begins in the tick that asks for it', async () => {
  const token = await begin()
  let begun = false
  const settling = journal.settleWith(token, () => void (begun = true))
  expect(begun).toBe(true)
  await settling
})

test('E4: an effect that throws is rolled back, surely', async () => {
  const token = await begin()
  const thrown = new Error('no stock')
  const answer = await journal.settleWith(token, (transaction) => {
    write()(transaction)
    throw thrown
  })
  expect(answer).toEqual({ committed: false, thrown })
  expect(records()).toEqual([])
  expect(await state()).toBe('intent')
  expect(await journal.settle(token, { state: 'failed' })).toBe(true)
})

test('E4: an effect that breaks a rule of the database is rolled back, and the journal goes on', async () => {
  expect(await journal.settleWith(await begin(), write(null))).toMatchObject({ committed: false })
  expect(records()).toEqual([])
  expect(await state()).toBe('intent')
})

test('E4: an effect that is async is rolled back, and told that it must not be', async () => {
  const token = await begin()
  const answer = await journal.settleWith(token, async (transaction) => {
    write()(transaction)
    throw new Error('nobody awaits this')
  })
  expect(answer).toMatchObject({ committed: false, thrown: { code: 'TRANSACTION_ASYNC' } })
  expect(String((answer as { thrown: unknown }).thrown)).toMatch(/must not be async/)
  expect(records()).toEqual([])
  expect(await state()).toBe('intent')
})

test('an attempt that is no longer ours runs nothing, and what another one did is not known', async () => {
  const first = await begin()
  now += LEASE_MS
  const second = await begin(true)
  await expect(journal.settleWith(first, write('first'))).rejects.toMatchObject({ code: 'ATTEMPT_LOST' })
  expect(await journal.settleWith(second, write('second'))).toMatchObject({ committed: true })
  await expect(journal.settleWith(second, write('again'))).rejects.toMatchObject({ code: 'ATTEMPT_LOST' })
  expect(records()).toEqual([{ value: 'second' }])
})

test('an effect that ends the transaction itself has an unknown outcome', async () => {
  const token = await begin()
  const ending = journal.settleWith(token, (transaction) => {
    write()(transaction)
    ;(transaction as DatabaseSync).exec('COMMIT')
  })
  await expect(ending).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
})

test('a result that JSON cannot hold is done all the same', async () => {
  expect(await journal.settleWith(await begin(), () => 1n)).toEqual({ committed: true, value: 1n })
  expect(await journal.begin(intent(), { leaseMs: LEASE_MS })).toEqual({ state: 'done', result: undefined })
})

test('an unknown outcome of a transactional effect is told to be none: it would be stored', async () => {
  await begin()
  now += LEASE_MS
  expect(await journal.begin(intent(), { leaseMs: LEASE_MS })).toEqual({
    state: 'unknown',
    sinceFirstAttemptMs: LEASE_MS,
    notPerformed: true,
  })
  const plain = await journal.begin(intent(), { leaseMs: LEASE_MS, retakeUnknown: true })
  expect(plain.state).toBe('begun')
  now += LEASE_MS
  expect(await journal.begin(intent(), { leaseMs: LEASE_MS })).not.toHaveProperty('notPerformed')
})

test('memory has no transactions', () => {
  expect(createMemoryJournal()).not.toHaveProperty('settleWith')
})
