import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'

import type { Journal } from '../../src/guard/journal.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { intent } from '../contract/intent.ts'
import { describeJournal } from '../contract/journal.ts'

const directory = mkdtempSync(join(tmpdir(), 'holdpoint-journal-'))
afterAll(() => rm(directory, { recursive: true }))

let files = 0
const newFile = () => join(directory, `${(files += 1)}.db`)

const LEASE_MS = 60_000
const DAY_MS = 24 * 60 * 60 * 1000

describeJournal('memory', (nowMs) => createMemoryJournal({ nowMs }))
describeJournal('sqlite', (nowMs) => createSqliteJournal({ file: newFile(), nowMs }))

describe('two journals on one SQLite file', () => {
  test('E1: racing for 200 keys, each key gets one owner', async () => {
    const file = newFile()
    const journals = [createSqliteJournal({ file }), createSqliteJournal({ file })]
    for (let key = 0; key < 200; key += 1) {
      const answers = await Promise.all(
        journals.map((journal) => journal.begin(intent(`${key}`), { leaseMs: LEASE_MS })),
      )
      expect(answers.map((answer) => answer.state).sort()).toEqual(['begun', 'running'])
    }
    await Promise.all(journals.map((journal) => journal.close()))
  })

  test('E1: processes that open a new file at once and race for 100 keys: each key gets one owner', async () => {
    const file = newFile()
    const children = Array.from({ length: 8 }, () => startChild('race', file))
    const owned = await Promise.all(children.map((child) => child.text))
    const keys = owned.flatMap((text) => JSON.parse(text) as string[])
    expect(keys.length).toBe(100)
    expect(new Set(keys).size).toBe(100)
  })

  test('what one stored, the other replays', async () => {
    const file = newFile()
    const [one, other] = [createSqliteJournal({ file }), createSqliteJournal({ file })]
    await one.settle(await begun(one), { state: 'done', result: '"receipt"' })
    expect(await other.begin(intent(), { leaseMs: LEASE_MS })).toEqual({ state: 'done', result: '"receipt"' })
    await one.close()
    await other.close()
  })
})

describe('a SQLite journal that is opened again', () => {
  test('G8: an owner killed with kill -9 between intent and outcome leaves an intent, which becomes unknown', async () => {
    const file = newFile()
    const child = startChild('hang', file)
    await child.firstLine
    child.kill()
    await child.text

    let now = Date.now()
    const journal = createSqliteJournal({ file, nowMs: () => now })
    expect((await journal.begin(intent(), { leaseMs: LEASE_MS })).state).toBe('running')
    expect(await journal.listUnknown()).toEqual([])
    now += LEASE_MS
    expect((await journal.begin(intent(), { leaseMs: LEASE_MS })).state).toBe('unknown')
    expect((await journal.listUnknown()).map((entry) => entry.key)).toEqual(['k'])
    await journal.close()
  })

  test('keeps rows and results for ever, and forgets inputs after 30 days', async () => {
    const file = newFile()
    let now = 1_700_000_000_000
    const open = () => createSqliteJournal({ file, nowMs: () => now })
    const first = open()
    await first.settle(await begun(first, 'old'), { state: 'unknown' })
    now += 1
    await first.settle(await begun(first, 'young'), { state: 'unknown' })
    await first.settle(await begun(first, 'done'), { state: 'done', result: '"receipt"' })
    await first.close()

    now += 30 * DAY_MS - 1
    const second = open()
    const inputs = (await second.listUnknown()).map((entry) => [entry.key, entry.input])
    expect(inputs).toEqual([
      ['old', undefined],
      ['young', intent().input],
    ])
    expect(await second.begin(intent('done'), { leaseMs: LEASE_MS })).toEqual({
      state: 'done',
      result: '"receipt"',
    })
    await second.close()
  })

  test('retentionMs says when inputs are forgotten', async () => {
    const file = newFile()
    let now = 1_700_000_000_000
    const first = createSqliteJournal({ file, nowMs: () => now })
    await begun(first)
    await first.close()
    now += 1000
    await createSqliteJournal({ file, nowMs: () => now, retentionMs: 1001 }).close()
    expect(storedInput(file)).toBe(intent().input)
    await createSqliteJournal({ file, nowMs: () => now, retentionMs: 1000 }).close()
    expect(storedInput(file)).toBeNull()
  })
})

test('listing unknown outcomes writes nothing, and needs no write lock: anybody may ask for it', async () => {
  const file = newFile()
  let now = 1_700_000_000_000
  const journal = createSqliteJournal({ file, nowMs: () => now })
  await begun(journal)
  now += LEASE_MS + 1
  const other = openSqlite(file)
  other.exec('BEGIN IMMEDIATE')
  expect(await journal.listUnknown()).toMatchObject([
    { key: 'k', state: 'unknown', changedAtMs: 1_700_000_000_000 + LEASE_MS },
  ])
  other.exec('ROLLBACK')
  expect(other.prepare('SELECT state FROM effect_journal').get()).toEqual({ state: 'intent' })
  other.close()
  await journal.close()
})

test('a closed journal refuses, so that nothing starts without an intent', async () => {
  const journal = createSqliteJournal({ file: newFile() })
  await journal.close()
  await journal.close()
  await expect(journal.begin(intent(), { leaseMs: LEASE_MS })).rejects.toThrow()
})

async function begun(journal: Journal, key = 'k'): Promise<string> {
  const answer = await journal.begin(intent(key), { leaseMs: LEASE_MS })
  if (answer.state !== 'begun') throw new Error(`expected an owner, got ${answer.state}`)
  return answer.token
}

function storedInput(file: string): unknown {
  const db = openSqlite(file, { readOnly: true })
  const row = db.prepare('SELECT input FROM effect_journal').get()
  db.close()
  return row?.['input']
}

function startChild(role: 'race' | 'hang', file: string) {
  const child = spawn(process.execPath, [new URL('journal-child.ts', import.meta.url).pathname, role, file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  child.stdout.setEncoding('utf8')
  return {
    firstLine: once(child.stdout, 'data'),
    kill: () => child.kill('SIGKILL'),
    text: child.stdout.toArray().then((chunks) => chunks.join('')),
  }
}
