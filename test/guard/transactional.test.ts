import type { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { defineEffect, EffectNotPerformed, type EffectContext } from '../../src/guard/effect.ts'
import { LEASE_MS } from '../../src/guard/effect-run.ts'
import type { GuardOptions } from '../../src/guard/guard.ts'
import type { Journal } from '../../src/guard/journal.ts'
import { createMemoryJournal } from '../../src/guard/memory-journal.ts'
import { createSqliteJournal } from '../../src/store/sqlite/journal.ts'
import { openSqlite } from '../../src/store/sqlite/open.ts'
import { PAYMENTS, startedGuard } from '../fixtures/guard.ts'
import { temporaryFiles } from '../fixtures/temporary-files.ts'

const newFile = temporaryFiles('transactional')
let nowMs: number
let journal: Journal
let db: DatabaseSync

beforeEach(() => {
  nowMs = 1_700_000_000_000
  const file = newFile()
  journal = createSqliteJournal({ file, nowMs: () => nowMs })
  db = openSqlite(file)
  db.exec('CREATE TABLE records (value TEXT NOT NULL) STRICT')
})
afterEach(async () => {
  db.close()
  await journal.close()
})

type Run = (value: string, effect: EffectContext) => unknown

const insert: Run = (value, { transaction }) => {
  ;(transaction as DatabaseSync).prepare('INSERT INTO records VALUES (?)').run(value)
  return { written: value }
}

/** A guard whose tool `write` has one transactional effect. */
async function desk(run: Run = insert, options: Partial<GuardOptions> = {}) {
  const made = await startedGuard({ journal, ...options })
  const ran = vi.fn(run)
  const effect = defineEffect({
    kind: 'write',
    name: 'write_record',
    key: 'each-call',
    transactional: true,
    run: ran,
  })
  const surface = made.guard.surface('payments')
  const write = (callId = 'call_1') =>
    made.guard.call({ surface, tool: 'write', callId, runId: 'run_1', caller: 'alice' }, (call) =>
      call.commit(effect, 'A'),
    )
  return { ...made, ran, write }
}

const records = () => db.prepare('SELECT value FROM records').all()
const states = async () =>
  (await journal.listRun({ caller: 'alice', runId: 'run_1' })).map((entry) => entry.state)

test('E4: effect and outcome commit together: done, and replayed with its result', async () => {
  const { write, ran } = await desk()
  expect(await write()).toMatchObject({ ok: true, replayed: false, value: { result: { written: 'A' } } })
  expect(await write()).toMatchObject({ ok: true, replayed: true, value: { result: { written: 'A' } } })
  expect(ran).toHaveBeenCalledTimes(1)
  expect(records()).toHaveLength(1)
})

test('E4: one that says that it was not performed has failed, and wrote nothing', async () => {
  const { write } = await desk((value, effect) => {
    insert(value, effect)
    throw new EffectNotPerformed('Out of stock.')
  })
  expect(await write()).toMatchObject({
    ok: false,
    executed: false,
    refusal: { error: 'tool_failed', code: 'EFFECT_NOT_PERFORMED', message: 'Out of stock.' },
    effects: [{ state: 'failed' }],
  })
  expect(records()).toEqual([])
  expect(await states()).toEqual(['failed'])
})

test('E4: one that throws anything has failed for certain: the model is told so, and nothing of the error', async () => {
  const { write, lines } = await desk((value, effect) => {
    insert(value, effect)
    throw new TypeError('secret internals')
  })
  const answer = await write()
  expect(answer).toMatchObject({ ok: false, executed: false, effects: [{ state: 'failed' }] })
  expect(JSON.stringify(answer)).not.toContain('internals')
  expect(lines.find((line) => line['msg'] === 'effect ended')).toMatchObject({ err: 'secret internals' })
  expect(records()).toEqual([])
  expect(await states()).toEqual(['failed'])
})

test.each<[string, Run]>([
  ['is async', async (value, effect) => insert(value, effect)],
  [
    'ends the transaction itself',
    (value, effect) => {
      insert(value, effect)
      ;(effect.transaction as DatabaseSync).exec('COMMIT')
    },
  ],
])('one that %s has an unknown outcome, and is not repeated', async (_name, run) => {
  const { write, ran } = await desk(run)
  const unknown = { ok: false, executed: 'unknown', refusal: { error: 'outcome_unknown' } }
  expect(await write()).toMatchObject(unknown)
  const written = records().length
  expect(await write()).toMatchObject(unknown)
  expect(ran).toHaveBeenCalledTimes(1)
  expect(records()).toHaveLength(written)
  expect(await states()).toEqual(['unknown'])
})

test('G1: one that is denied runs nothing and begins no transaction', async () => {
  const { write, ran, authority } = await desk()
  authority.beforeAnswer = ({ boundary }) => {
    if (boundary === 'side_effect') authority.stop(PAYMENTS)
  }
  expect(await write()).toMatchObject({ ok: false, executed: false, effects: [{ state: 'denied' }] })
  expect(ran).not.toHaveBeenCalled()
  expect(await states()).toEqual(['denied'])
})

test('G3: a permit that grew too old while the lock was waited for starts nothing', async () => {
  const { write, ran, clock } = await desk(insert, {
    journal: {
      ...journal,
      settleWith: (token, work) => {
        clock.advance(2001)
        return journal.settleWith!(token, work)
      },
    },
  })
  expect(await write()).toMatchObject({ ok: false, executed: false, refusal: { code: 'PERMIT_EXPIRED' } })
  expect(ran).not.toHaveBeenCalled()
  expect(await states()).toEqual(['denied'])
})

test('one whose COMMIT cannot be told about has an unknown outcome', async () => {
  const { write } = await desk(insert, {
    journal: { ...journal, settleWith: () => Promise.reject(new Error('disk I/O error')) },
  })
  expect(await write()).toMatchObject({
    ok: false,
    executed: 'unknown',
    refusal: { error: 'outcome_unknown' },
  })
  expect(await states()).toEqual(['unknown'])
})

test('after a crash it is written once: no outcome is stored, so it has not happened', async () => {
  const dying = await desk(insert, {
    journal: { ...journal, settleWith: () => new Promise(() => undefined) },
  })
  void dying.write()
  await vi.waitFor(async () => expect(await states()).toEqual(['intent']))
  nowMs += LEASE_MS
  const { write } = await desk()
  expect(await write()).toMatchObject({ ok: true, replayed: false })
  expect(await write()).toMatchObject({ ok: true, replayed: true })
  expect(records()).toHaveLength(1)
})

test('where the journal is no database it is an effect like any other', async () => {
  const seen: unknown[] = []
  const run: Run = async (_value, effect) => void seen.push('transaction' in effect)
  const { write } = await desk(run, { journal: createMemoryJournal() })
  expect(await write()).toMatchObject({ ok: true })
  expect(seen).toEqual([false])
})
