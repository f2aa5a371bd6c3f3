import type { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

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

test('E4: an effect that is async is rolled back, told that it must not be, and nobody knows what it did', async () => {
  const token = await begin()
  const settling = journal.settleWith(token, async (transaction) => {
    write()(transaction)
    throw new Error('nobody awaits this')
  })
  await expect(settling).rejects.toMatchObject({
    code: 'TRANSACTION_ASYNC',
    message: expect.stringMatching(/must not be async/),
  })
  expect(records()).toEqual([])
  await unknownForGood()
})

test('E4: what is left of an effect that has returned writes nothing any more', async () => {
  const token = await begin()
  const gate = Promise.withResolvers<void>()
  const codes: unknown[] = []
  const attempted = (write: () => void) => {
    try {
      write()
    } catch (thrown) {
      codes.push((thrown as { code?: string }).code)
    }
  }
  let later: Promise<void> | undefined
  await journal.settleWith(token, (transaction) => {
    const db = transaction as DatabaseSync
    const insert = db.prepare('INSERT INTO records VALUES (?)')
    const exec = db.exec.bind(db)
    insert.run('within')
    later = gate.promise.then(() => {
      attempted(() => insert.run('statement'))
      attempted(() => db.prepare('INSERT INTO records VALUES (1)'))
      attempted(() => exec("INSERT INTO records VALUES ('exec')"))
    })
  })
  gate.resolve()
  await later
  expect(codes).toEqual(Array.from({ length: 3 }, () => 'TRANSACTION_OVER'))
  expect(records()).toEqual([{ value: 'within' }])
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

describe('an effect that ends the transaction itself', () => {
  const no = (): never => {
    throw new Error('no stock')
  }
  test.each<[string, string, () => void]>([
    ['commits', 'COMMIT', () => undefined],
    ['commits, and throws', 'COMMIT', no],
    ['commits, begins another one, and throws', 'COMMIT; BEGIN IMMEDIATE', no],
    ['rolls back', 'ROLLBACK', () => undefined],
    ['rolls back, and begins another one', 'ROLLBACK; BEGIN IMMEDIATE', () => undefined],
  ])(
    'that %s has an unknown outcome, and nobody is told that nothing was written',
    async (_name, sql, end) => {
      const token = await begin()
      const ending = journal.settleWith(token, (transaction) => {
        write()(transaction)
        ;(transaction as DatabaseSync).exec(sql)
        end()
      })
      await expect(ending).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
      await unknownForGood()
    },
  )

  test('and that was taken over by somebody who could not tell stays as uncertain', async () => {
    const token = await begin()
    const broken = journal.settleWith(token, (transaction) => {
      ;(transaction as DatabaseSync).exec('COMMIT')
    })
    await expect(broken).rejects.toMatchObject({ code: 'TRANSACTION_ENDED' })
    await journal.settle(token, { state: 'unknown' })
    await journal.settle(await begin(true), { state: 'unknown' })
    const next = await journal.begin(intent('k', { transactional: true }), { leaseMs: LEASE_MS })
    expect(next).toEqual({ state: 'unknown', sinceFirstAttemptMs: 0 })
  })

  test('and whose process dies before it is seen has left no word that nothing was written', async () => {
    await journal
      .settleWith(await begin(), (transaction) => {
        write()(transaction)
        ;(transaction as DatabaseSync).exec('COMMIT')
        // What another process would find now.
        expect(other.prepare('SELECT state, transactional FROM effect_journal').get()).toEqual({
          state: 'intent',
          transactional: 0,
        })
      })
      .catch(() => undefined)
  })
})

/** The attempt's lease passes: it is unknown, and may have happened. */
async function unknownForGood() {
  expect(await state()).toBe('intent')
  now += LEASE_MS
  expect(await journal.begin(intent(), { leaseMs: LEASE_MS })).toEqual({
    state: 'unknown',
    sinceFirstAttemptMs: LEASE_MS,
  })
}

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
