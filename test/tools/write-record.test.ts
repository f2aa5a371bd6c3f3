import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, describe, expect, test } from 'vitest'

import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { createRecords } from '../../tools/records.ts'
import { createSinks } from '../../tools/sinks.ts'
import { writeRecord } from '../../tools/write-record.ts'
import { startedGuard } from '../fixtures/guard.ts'
import { randomFrom } from '../fixtures/random.ts'
import { sinkWorld } from './world.ts'

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-records-'))
afterAll(() => rmSync(directory, { recursive: true }))
let files = 0
const newDir = () => mkdtempSync(join(directory, `${(files += 1)}-`))

/** Remembers every write to the table of records. */
const HISTORY = `
  CREATE TABLE history (key TEXT, value TEXT);
  CREATE TRIGGER inserted AFTER INSERT ON records BEGIN INSERT INTO history VALUES (new.key, new.value); END;
  CREATE TRIGGER updated AFTER UPDATE ON records BEGIN INSERT INTO history VALUES (new.key, new.value); END`

test('a record and its outcome lie in one file, and a repeat of the call writes nothing', async () => {
  await using world = await sinkWorld()
  const file = join(world.dir, 'journal.sqlite')
  const records = createRecords({ file, sharesJournal: true })
  const tool = writeRecord(world.guard, records)
  const first = await world.call(tool, { key: 'k', value: 'A' }, { callId: 'call_a' })
  expect(first.result).toEqual({ key: 'k', written: true })
  await world.call(tool, { key: 'k', value: 'B' }, { callId: 'call_b' })
  const again = await world.call(tool, { key: 'k', value: 'A' }, { callId: 'call_a' })
  expect([again.replayed, records.read('k')]).toEqual([true, 'B'])
  expect(await world.states()).toEqual(['done', 'done'])
  records.close()
})

test('a write that the database refuses leaves no record and no outcome', async () => {
  await using world = await sinkWorld()
  const file = join(world.dir, 'journal.sqlite')
  const records = createRecords({ file, sharesJournal: true })
  const db = new DatabaseSync(file)
  db.exec(`CREATE TRIGGER no AFTER INSERT ON records WHEN new.key = 'k' BEGIN SELECT RAISE(ABORT, 'no'); END`)
  db.close()
  const told = await world.call(writeRecord(world.guard, records), { key: 'k', value: 'A' })
  expect([told.code === 'output', records.read('k')]).toEqual([false, undefined])
  expect(await world.states()).toEqual(['failed'])
  records.close()
})

test('records that claim to share a journal that lies elsewhere write nothing', async () => {
  await using world = await sinkWorld()
  const records = createRecords({ file: join(world.dir, 'records.sqlite'), sharesJournal: true })
  const others = createRecords({ file: join(world.dir, 'journal.sqlite') })
  const told = await world.call(writeRecord(world.guard, records), { key: 'k', value: 'A' })
  expect([told.code === 'output', records.read('k'), others.read('k')]).toEqual([false, undefined, undefined])
  others.close()
  records.close()
})

test.each([
  ['with a journal in memory', true, createMemoryJournal],
  ['in a file of their own', false, () => createSqliteJournal({ file: join(newDir(), 'journal.sqlite') })],
])('records %s are written all the same', async (_name, sharesJournal, journalOf) => {
  await using world = await sinkWorld()
  const journal = journalOf()
  const { guard } = await startedGuard({ journal, surfaces: { records: 'tool-server' } })
  const records = createRecords({ file: join(newDir(), 'records.sqlite'), sharesJournal })
  const told = await world.call(writeRecord(guard, records), { key: 'k', value: 'A' })
  expect([told.code, records.read('k')]).toEqual(['output', 'A'])
  await guard.close({ graceMs: 0 })
  await journal.close()
  records.close()
})

test('records of an older data directory move into the journal’s file once, and newer ones win', async () => {
  const dataDir = newDir()
  const older = createRecords({ file: join(dataDir, 'records.sqlite') })
  older.write('old', '1')
  older.write('both', 'old')
  older.close()
  await createSqliteJournal({ file: join(dataDir, 'journal.sqlite') }).close()
  const newer = createRecords({ file: join(dataDir, 'journal.sqlite'), sharesJournal: true })
  newer.write('both', 'new')
  newer.close()
  for (let start = 0; start < 2; start += 1) {
    const sinks = createSinks({ dataDir })
    expect([sinks.records.read('old'), sinks.records.read('both')]).toEqual(['1', 'new'])
    sinks.close()
  }
  expect(existsSync(join(dataDir, 'records.sqlite'))).toBe(false)
  await createSqliteJournal({ file: join(dataDir, 'journal.sqlite') }).close()
})

describe('kill -9 in the middle of a write', () => {
  /** `WRITE_KILLS=25` for more certainty. */
  const KILLS = Number(process.env['WRITE_KILLS'] ?? 10)
  const LEASE_MS = 10 * 60_000

  test.each([
    ['between the write and COMMIT', 'effect.performed', 0],
    ['right after COMMIT', 'effect.outcome_stored', 1],
  ] as const)(
    '%s: record and journal agree, and the retry leaves exactly one write',
    async (_name, dieAt, written) => {
      const kill = async (seed: number) => {
        const random = randomFrom(seed)
        const file = join(newDir(), 'journal.sqlite')
        const writes = 1 + random.int(4)
        const size = random.pick([1, 500, 20_000, 300_000])
        await createSqliteJournal({ file }).close()
        createRecords({ file, sharesJournal: true }).close()
        const db = new DatabaseSync(file)
        db.exec(HISTORY)
        const history = () =>
          db
            .prepare('SELECT value FROM history')
            .all()
            .map(({ value }) => String(value))
        const valueOf = (call: number) => `${call}:`.padEnd(size, 'x')
        const all = Array.from({ length: writes }, (_, call) => valueOf(call))

        expect(await killed(file, writes, dieAt, size)).toBe('SIGKILL')
        expect(history()).toEqual(all.slice(0, writes - 1 + written))
        const states = db.prepare('SELECT state FROM effect_journal ORDER BY rowid').all()
        expect(states.map(({ state }) => state)).toEqual(
          all.map((_, call) => (call < writes - 1 + written ? 'done' : 'intent')),
        )

        const journal = createSqliteJournal({ file, nowMs: () => Date.now() + LEASE_MS })
        const { guard } = await startedGuard({ journal, surfaces: { records: 'tool-server' } })
        const records = createRecords({ file, sharesJournal: true })
        await using world = await sinkWorld()
        const retry = await world.call(
          writeRecord(guard, records),
          { key: 'letter', value: valueOf(writes - 1) },
          { callId: `call_${writes - 1}` },
        )
        expect([retry.code, retry.replayed]).toEqual(['output', written === 1])
        expect(history()).toEqual(all)
        expect(records.read('letter')).toBe(all.at(-1))
        await guard.close({ graceMs: 0 })
        await journal.close()
        records.close()
        db.close()
      }
      for (let seed = 0; seed < KILLS; seed += 2) {
        await Promise.all([seed, seed + 1].filter((one) => one < KILLS).map(kill))
      }
    },
    120_000,
  )
})

async function killed(file: string, writes: number, dieAt: string, size: number): Promise<string | null> {
  const child = spawn(
    process.execPath,
    [
      '--conditions=holdpoint-source',
      new URL('child-records.ts', import.meta.url).pathname,
      file,
      `${writes}`,
      dieAt,
      `${size}`,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
  return signal
}
