import { expect, test } from 'vitest'

import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { createSqliteToolStore } from '../../src/store/sqlite/tool-store.ts'
import { intent } from '../contract/intent.ts'
import { paused, runActions } from '../contract/runs.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('tool-schema')
const LEASE_MS = 60_000

/** As version 0.1.0 made it, before there were migrations. */
const OLD_SCHEMA = `
  CREATE TABLE effect_journal (
    key TEXT PRIMARY KEY, effect TEXT NOT NULL, kind TEXT NOT NULL, tool TEXT NOT NULL, run_id TEXT,
    call_id TEXT NOT NULL, input_digest TEXT NOT NULL, input TEXT, result TEXT,
    state TEXT NOT NULL CHECK (state IN ('intent', 'done', 'failed', 'denied', 'unknown')),
    token TEXT NOT NULL UNIQUE, first_attempt_at_ms INTEGER NOT NULL, changed_at_ms INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL, deadline_at_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX effect_journal_open ON effect_journal (state) WHERE state IN ('intent', 'unknown');
  CREATE INDEX effect_journal_input ON effect_journal (changed_at_ms) WHERE input IS NOT NULL`

const KEY = JSON.stringify(['org-1', 'alice', 'refund', 'business', 'INV-1'])

function oldFile(rows: readonly { key: string; state: string; result?: string }[]): string {
  const file = newFile()
  const db = openSqlite(file)
  db.exec(OLD_SCHEMA)
  const add = db.prepare(
    `INSERT INTO effect_journal VALUES
       (?, 'refund', 'payment', 'refund_invoice', 'run_1', 'call_1', 'digest-1', '{}', ?, ?, ?, ?, ?, 0, 0, 30000)`,
  )
  for (const [at, { key, state, result }] of rows.entries())
    add.run(key, result ?? null, state, `token ${at}`, at, Date.now())
  db.close()
  return file
}

test('a journal of version 0.1.0 opens: what was done is done, and each row has its caller', async () => {
  const file = oldFile([
    { key: KEY, state: 'done', result: '"receipt"' },
    { key: JSON.stringify(['org-1', 'bob', 'refund', 'business', 'INV-2']), state: 'failed' },
    { key: 'no JSON', state: 'unknown' },
    { key: '"no array"', state: 'intent' },
  ])
  const journal = createSqliteJournal({ file })
  expect(await journal.begin(intent(KEY), { leaseMs: LEASE_MS })).toEqual({
    state: 'done',
    result: '"receipt"',
  })
  const callers = async (caller: string) =>
    (await journal.listRun({ caller, runId: 'run_1' })).map((entry) => entry.state)
  expect(await callers('alice')).toEqual(['done'])
  expect(await callers('bob')).toEqual(['failed'])
  expect(await callers('local')).toEqual(['unknown', 'unknown'])
  expect(await journal.begin(intent('no JSON'), { leaseMs: LEASE_MS })).not.toHaveProperty('notPerformed')
  await journal.close()
})

test('it opens again, also with runs in it', async () => {
  const file = oldFile([{ key: KEY, state: 'done' }])
  const first = createSqliteToolStore({ file })
  await runActions(first.runs).saved('run_1', paused())
  await first.close()
  const second = createSqliteToolStore({ file })
  expect(await runActions(second.runs).status('run_1')).toBe('interrupted')
  expect(await second.journal.begin(intent(KEY), { leaseMs: LEASE_MS })).toMatchObject({ state: 'done' })
  await second.close()
})

test('a file of a newer version is refused', () => {
  const file = newFile()
  const db = openSqlite(file)
  db.exec('CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT')
  db.exec("INSERT INTO migrations VALUES (99, 'later')")
  db.close()
  expect(() => createSqliteJournal({ file })).toThrow(expect.objectContaining({ code: 'STORE_TOO_NEW' }))
})
