import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { canonicalJson } from '../../src/canonical-json.ts'
import { chained } from '../../src/control-plane/audit-chain.ts'
import { createChainVerifier } from '../../src/control-plane/audit-verify.ts'
import { auditBody, auditRowOf } from '../../src/control-plane/evidence-rows.ts'
import type { AuditRow } from '../../src/control-plane/records.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { runAudit } from '../../src/programs/audit.ts'
import { openAuditFile } from '../../src/store/sqlite/audit-file.ts'
import * as rows from '../../src/store/control-plane-rows.ts'
import * as sql from '../../src/store/sqlite/statements.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
/** The row that the tests tamper with, somewhere in the middle. */
const SEQ = 6

let dir: string
/** A database that a control plane has written and closed, and an export of the first org's chain. */
let original: string
let exported: string
let orgId: string
let otherOrg: string
let chain: readonly AuditRow[]
const head = () => chain.at(-1) as AuditRow

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'holdpoint-audit-verify-'))
  await using authority = await startTestControlPlane({ dir })
  const { keys, post } = authority
  await authority.register(DEVICE)
  await post(PATHS.revoke, { deviceId: DEVICE, reason: 'leaked key' }, keys.stop)
  await post(
    PATHS.unrevoke,
    { deviceId: DEVICE, ifEpoch: 1, reason: 'Schlüssel getauscht ✓ 🔑' },
    keys.operator,
  )
  await post(PATHS.register, { deviceId: DEVICE, labels: { constructor: 'x', 'a"b': '\n\u2028' } }, keys.full)
  await post(PATHS.locks, { pattern: 'openai-agent:test:*', reason: 'drill' }, keys.stop)
  await post(PATHS.orgDisable, {}, keys.admin)
  await post(PATHS.remove, { deviceId: DEVICE }, keys.operator)
  orgId = authority.orgId
  otherOrg = (await authority.service.createOrg({ kinds: ['full'] })).orgId
  const answer = await fetch(`${authority.url}${PATHS.audit}?format=jsonl`, {
    headers: { 'x-org-key': keys.viewer },
  })
  exported = await answer.text()
  original = authority.file
  await authority.kill(1000)
  chain = rowsIn(original)
})
afterAll(() => rm(dir, { recursive: true }))

function rowsIn(file: string, org = orgId): AuditRow[] {
  const audit = openAuditFile(file)
  try {
    return [...audit.rows(org)] as AuditRow[]
  } finally {
    audit.close()
  }
}

/** What the command says, and its status. */
async function verify(...args: string[]) {
  const said: string[] = []
  const noted: string[] = []
  const status = await runAudit(['verify', ...args], {
    say: (text) => void said.push(text),
    note: (text) => void noted.push(text),
  })
  return { status, said, noted, of: (org: string) => said.find((line) => line.startsWith(`${org}:`)) }
}

let copies = 0
/** A copy of the database after somebody was at it. */
async function tampered(tamper: (db: DatabaseSync) => void): Promise<string> {
  const copy = join(dir, `copy-${copies++}.db`)
  await copyFile(original, copy)
  const db = new DatabaseSync(copy)
  tamper(db)
  db.close()
  return copy
}

function change(db: DatabaseSync, column: string, value: string | number | bigint | null, seq = SEQ): void {
  const { changes } = db
    .prepare(`UPDATE audit SET ${column} = ? WHERE org_id = ? AND seq = ?`)
    .run(value, orgId, seq)
  expect(changes).toBe(1)
}

function put(db: DatabaseSync, row: AuditRow): void {
  db.prepare(sql.insert('audit', rows.audit.columns).replace('INSERT', 'INSERT OR REPLACE')).run(
    ...rows.audit.values(row),
  )
}

const cut = (db: DatabaseSync, seq: number) =>
  db.prepare('DELETE FROM audit WHERE org_id = ? AND seq = ?').run(orgId, seq)
const rowAt = (seq: number) => chain[seq - 1] as AuditRow

test('what a control plane wrote is intact: in its file, in a backup form, as an export', async () => {
  expect(chain.map(({ seq }) => seq)).toEqual(chain.map((_, index) => index + 1))
  expect(chain.length).toBeGreaterThan(SEQ + 2)
  const { status, of } = await verify(original)
  expect(status).toBe(0)
  expect(of(orgId)).toBe(`${orgId}: intact, ${chain.length} rows, head ${head().seq}:${head().hash}`)
  expect(of(otherOrg)).toMatch(/: intact, 1 rows, head 1:/)
  // A backup is in this mode, which a control plane's own file never is.
  const backup = await tampered((db) => db.exec('PRAGMA journal_mode = DELETE'))
  expect((await verify(backup)).status).toBe(0)

  const file = join(dir, 'export.jsonl')
  await writeFile(file, exported)
  expect(await verify(file)).toMatchObject({ status: 0, said: [of(orgId)] })
})

test('a running control plane does not mind', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  const before = await verify(authority.file, '--org', authority.orgId)
  expect(before.status).toBe(0)
  await authority.revoke(DEVICE)
  const after = await verify(authority.file, '--org', authority.orgId)
  expect(after.status).toBe(0)
  expect(after.said).not.toEqual(before.said)
})

test('every column of a row is held by its hash', async () => {
  const columns = rows.audit.columns.filter((column) => column !== 'org_id' && column !== 'seq')
  const db = new DatabaseSync(original, { readOnly: true })
  const inTable = db
    .prepare('SELECT name FROM pragma_table_info(?)')
    .all('audit')
    .map(({ name }) => name)
  db.close()
  expect(inTable.toSorted()).toEqual(rows.audit.columns.toSorted())
  for (const column of columns) {
    const number = column === 'at_ms'
    for (const value of number ? [1, -1, 2 ** 53, 2n ** 63n - 1n, 8.64e15 + 1] : ['{"x":1}', 'no JSON', '']) {
      const file = await tampered((db) => change(db, column, value))
      const { status, of } = await verify(file)
      expect.soft({ column, status, line: of(orgId) }).toMatchObject({
        status: 1,
        line: expect.stringMatching(new RegExp(`^${orgId}: BROKEN at row ${SEQ} `)),
      })
      expect.soft(of(otherOrg)).toMatch(/intact/)
    }
  }
  for (const [seq, column] of [
    [4, 'reason'],
    [4, 'device_id'],
    [6, 'before'],
  ] as const) {
    const file = await tampered((db) => change(db, column, null, seq))
    expect((await verify(file)).of(orgId)).toMatch(
      ` at row ${seq} (${rowAt(seq).id}). Row ${seq} does not fit its hash`,
    )
  }
})

test('whatever a row says, it is intact after its way through JSON, and broken once anything in it differs', () => {
  const entry = fc.record({
    id: fc.uuid(),
    atMs: fc.integer({ min: 0, max: Date.UTC(9999, 0) }),
    actor: fc.string(),
    actorKind: fc.option(fc.string()),
    requestId: fc.option(fc.string()),
    origin: fc.option(fc.ipV6()),
    action: fc.string({ unit: 'binary' }),
    deviceId: fc.option(fc.string({ unit: 'grapheme' })),
    reason: fc.option(fc.string({ unit: 'binary' })),
    before: fc.jsonValue({ noUnicodeString: false }),
    after: fc.jsonValue(),
  })
  const members = Object.keys(chain[0] ?? {}).filter((member) => member !== 'atMs')
  fc.assert(
    fc.property(
      fc.array(entry, { minLength: 2, maxLength: 8 }),
      fc.nat(),
      fc.constantFrom('at', ...members),
      fc.jsonValue(),
      (entries, at, member, value) => {
        const bodies = entries
          .reduce<AuditRow[]>((made, one) => [...made, chained('o_x', made.at(-1), one)], [])
          .map((row) => JSON.parse(JSON.stringify(auditBody(row))) as Record<string, unknown>)
        const report = (all: readonly unknown[]) => {
          const verifier = createChainVerifier('o_x')
          for (const body of all) {
            const row = auditRowOf(body)
            if (row === undefined) verifier.addUnreadable({ problem: 'unreadable' })
            else verifier.add(row)
          }
          return verifier.end()
        }
        expect(report(bodies)).toMatchObject({ intact: true, rows: bodies.length })
        const index = at % bodies.length
        const body = bodies[index] ?? {}
        fc.pre(canonicalJson(body[member]) !== canonicalJson(value))
        const { intact, firstBroken } = report(bodies.with(index, { ...body, [member]: value }))
        expect(intact).toBe(false)
        // A missing row is named by its own place, a foreign `seq` by what it says.
        if (member !== 'seq') expect(firstBroken?.seq).toBe(index + 1)
      },
    ),
    { numRuns: 500 },
  )
})

describe('the first broken row is named', () => {
  const cases: [string, (db: DatabaseSync) => void, string][] = [
    ['a deleted row', (db) => void cut(db, SEQ), `at row 6. Row 6 is missing: after row 5 comes row 7.`],
    [
      'several deleted rows',
      (db) => [4, 5, 6].forEach((seq) => cut(db, seq)),
      'at row 4. Rows 4 to 6 are missing: after row 3 comes row 7.',
    ],
    [
      'the first row deleted',
      (db) => void cut(db, 1),
      'at row 1. Row 1 is missing: the chain was cut off at the front.',
    ],
    [
      'the front cut off and the rest numbered anew',
      (db) => {
        cut(db, 1)
        db.prepare('UPDATE audit SET seq = seq - 1 WHERE org_id = ?').run(orgId)
      },
      'Row 1 does not fit its hash',
    ],
    [
      'the front cut off, the rest numbered and hashed anew, its first link kept',
      (db) => {
        const [, second] = chain
        db.prepare('DELETE FROM audit WHERE org_id = ?').run(orgId)
        put(db, chained(orgId, { seq: 0, hash: second?.prevHash ?? '' }, second as AuditRow))
      },
      'Row 1 names a row before it',
    ],
    [
      'a deleted row, and the ones after it numbered anew',
      (db) => {
        cut(db, SEQ)
        db.prepare('UPDATE audit SET seq = seq - 1 WHERE org_id = ? AND seq > ?').run(orgId, SEQ)
      },
      `at row 6 (`,
    ],
    [
      'two rows swapped',
      (db) => {
        put(db, { ...rowAt(SEQ), seq: SEQ + 1 })
        put(db, { ...rowAt(SEQ + 1), seq: SEQ })
      },
      'Row 6 does not fit its hash',
    ],
    [
      'a row put in where one was',
      (db) => put(db, { ...rowAt(SEQ), id: 'another', action: 'device.unrevoke' }),
      'at row 6 (another). Row 6 does not fit its hash',
    ],
    [
      'a row added at the end without its link',
      (db) => put(db, { ...rowAt(SEQ), seq: head().seq + 1 }),
      'does not fit its hash',
    ],
    ['a row far beyond the end', (db) => put(db, { ...head(), seq: 2 ** 40 }), 'are missing: after row '],
    ['a row before the first', (db) => put(db, { ...head(), seq: -3 }), 'at row -3 ('],
    [
      'a row that was rewritten, with its own hash made anew',
      (db) => put(db, chained(orgId, rowAt(SEQ - 1), { ...rowAt(SEQ), reason: 'nothing happened' })),
      'at row 6 (',
    ],
    [
      'all of its rows',
      (db) => void db.prepare('DELETE FROM audit WHERE org_id = ?').run(orgId),
      'The chain is empty',
    ],
  ]
  test.each(cases)('%s', async (_name, tamper, problem) => {
    const { status, of } = await verify(await tampered(tamper))
    expect(status).toBe(1)
    expect(of(orgId)).toContain(problem)
  })

  test('a row that went to another org is missing in one chain and foreign in the other', async () => {
    const file = await tampered((db) => {
      db.prepare('UPDATE audit SET org_id = ?, seq = 2 WHERE org_id = ? AND seq = ?').run(
        otherOrg,
        orgId,
        SEQ,
      )
    })
    const { of } = await verify(file)
    expect(of(orgId)).toContain('at row 6. Row 6 is missing')
    expect(of(otherOrg)).toContain('at row 2 (')
    // Its link and its org fit, but it was hashed for another one.
    const linked = await tampered((db) => {
      const [first] = rowsIn(original, otherOrg)
      put(db, { ...rowAt(SEQ), orgId: otherOrg, seq: 2, prevHash: first?.hash ?? '' })
    })
    expect((await verify(linked)).of(otherOrg)).toContain('Row 2 does not fit its hash')
  })

  test('an org that exists in the chain only, or in the list of orgs only', async () => {
    const file = await tampered((db) => {
      db.exec('PRAGMA foreign_keys = OFF')
      db.prepare('UPDATE audit SET org_id = ? WHERE org_id = ?').run('o_nobody', otherOrg)
    })
    const { of } = await verify(file)
    expect(of('o_nobody')).toContain('BROKEN at row 1 ')
    expect(of(otherOrg)).toContain('The chain is empty')
  })
})

describe('what only a noted row shows', () => {
  const noted = (row: AuditRow, characters = 64) => `${row.seq}:${row.hash.slice(0, characters)}`

  test('rows cut off at the end', async () => {
    const file = await tampered((db) => [head().seq, head().seq - 1].forEach((seq) => cut(db, seq)))
    expect((await verify(file, '--org', orgId)).status).toBe(0)
    const { status, said } = await verify(file, '--org', orgId, '--head', noted(head()))
    expect(status).toBe(1)
    expect(said).toEqual([
      `${orgId}: BROKEN at row ${head().seq - 1}. The chain ends with row ${head().seq - 2}, but row ${head().seq} was noted: it was cut off at the end.`,
    ])
    // A row from before the cut is still there.
    expect((await verify(file, '--org', orgId, '--head', noted(rowAt(SEQ)))).status).toBe(0)
  })

  test('a whole chain made anew', async () => {
    const file = await tampered((db) => {
      let last: AuditRow | undefined
      for (const row of chain) {
        last = chained(orgId, last, row.seq === SEQ ? { ...row, reason: 'nothing happened' } : row)
        put(db, last)
      }
    })
    expect((await verify(file)).status).toBe(0)
    for (const characters of [64, 16]) {
      const { said, status } = await verify(file, '--org', orgId, '--head', noted(head(), characters))
      expect(status).toBe(1)
      expect(said[0]).toContain(
        `BROKEN at row ${head().seq} (${head().id}). Row ${head().seq} is not the one that was noted`,
      )
    }
    expect((await verify(file, '--org', orgId, '--head', noted(rowAt(SEQ - 1)))).status).toBe(0)
    expect((await verify(file, '--org', orgId, '--head', noted(rowAt(SEQ)))).status).toBe(1)
  })

  test('the row that a log line names fits', async () => {
    expect((await verify(original, '--org', orgId, '--head', noted(head(), 16))).status).toBe(0)
  })
})

describe('an export', () => {
  const tamper = async (edit: (lines: string[]) => string[]): Promise<string> => {
    const file = join(dir, `export-${copies++}.jsonl`)
    await writeFile(file, edit(exported.trimEnd().split('\n')).join('\n'))
    return file
  }
  const swap = (lines: string[], a: number, b: number) =>
    lines.with(a, lines[b] ?? '').with(b, lines[a] ?? '')

  test('every member of a line is held by its hash, and no other may be there', async () => {
    const members = Object.keys(JSON.parse(exported.split('\n')[SEQ - 1] ?? '') as object)
    expect(members).toHaveLength(rows.audit.columns.length)
    for (const member of [...members, 'more']) {
      const file = await tamper((lines) =>
        lines.with(
          SEQ - 1,
          JSON.stringify({ ...JSON.parse(lines[SEQ - 1] ?? ''), [member]: '2026-01-01T00:00:00.000Z' }),
        ),
      )
      const { status, said } = await verify(file)
      expect.soft({ member, status }).toEqual({ member, status: 1 })
      expect.soft(said[0]).toContain(`BROKEN at row ${SEQ}`)
    }
  })

  const cases: [string, (lines: string[]) => string[], string][] = [
    [
      'a line deleted',
      (lines) => lines.toSpliced(5, 1),
      'at row 6. Row 6 is missing: after row 5 comes row 7.',
    ],
    [
      'the front cut off',
      (lines) => lines.slice(3),
      'at row 1. Rows 1 to 3 are missing: the chain was cut off at the front.',
    ],
    [
      'two lines swapped',
      (lines) => swap(lines, 5, 6),
      'Row 6 comes later than row 7: the rows are not in their order.',
    ],
    ['a line twice', (lines) => lines.toSpliced(5, 0, lines[5] ?? ''), 'Row 6 stands where row 7 should.'],
    [
      'the last line cut short',
      (lines) => lines.with(-1, lines.at(-1)?.slice(0, -20) ?? ''),
      'is no audit row',
    ],
    [
      'a member twice, the second of them the true one',
      (lines) => lines.with(5, (lines[5] ?? '').replace('{', '{"reason":"nothing happened",')),
      'Line 6 is no audit row',
    ],
    [
      'a row of another org',
      (lines) => lines.with(5, (lines[5] ?? '').replaceAll(orgId, otherOrg)),
      `Row 6 belongs to another org, `,
    ],
    [
      'a time that is written in another way',
      (lines) => lines.with(5, (lines[5] ?? '').replace(/("at":"[^"]*)Z"/, '$10Z"')),
      'Line 6 is no audit row',
    ],
    ['nothing at all', () => [], 'The chain is empty'],
    ['something else', () => ['<html>', '</html>'], 'Line 1 is no audit row'],
  ]
  test.each(cases)('%s', async (_name, edit, problem) => {
    const { status, said } = await verify(await tamper(edit))
    expect(status).toBe(1)
    expect(said).toHaveLength(1)
    expect(said[0]).toContain(problem)
  })

  test('exports of two days, one after the other, are one chain', async () => {
    const file = await tamper((lines) => [...lines.slice(0, 4), '', ...lines.slice(4), ''])
    expect((await verify(file)).status).toBe(0)
  })
})

test('what cannot be verified is said, with status 2', async () => {
  const journal = join(dir, 'journal.db')
  const db = new DatabaseSync(journal)
  db.exec('CREATE TABLE orgs (org_id TEXT); CREATE TABLE audit (org_id TEXT)')
  db.close()
  const notes = async (...args: string[]) => {
    const { status, noted, said } = await verify(...args)
    expect(said).toEqual([])
    expect(status).toBe(2)
    return noted.join('')
  }
  expect(await notes()).toMatch(/^Say what to verify/)
  expect(await notes('a', 'b')).toMatch(/^Say what to verify/)
  expect(await notes(original, '--had', '1')).toContain("Unknown option '--had'")
  expect(await notes(original, '--head', '12')).toMatch(/^--head takes SEQ:HASH/)
  expect(await notes(original, '--head', `12:${'a'.repeat(15)}`)).toMatch(/^--head takes SEQ:HASH/)
  expect(await notes(original, '--head', `12:${'a'.repeat(64)}`)).toMatch(
    /has 2\. Say which with --org\. \(AUDIT_ORG_NEEDED\)/,
  )
  // Rows are counted from 1, so that nothing would ever be compared with it.
  expect(await notes(original, '--org', orgId, '--head', `0:${'a'.repeat(64)}`)).toMatch(
    /^--head takes SEQ:HASH, the first SEQ being 1/,
  )
  expect(await notes(original, '--org', 'o_other')).toMatch(/has nothing of an org o_other/)
  expect(await notes(join(dir, 'nowhere'))).toMatch(/cannot be read: ENOENT.*\(FILE_NOT_READABLE\)/)
  expect(await notes(dir)).toMatch(/cannot be read: EISDIR/)
  expect(await notes(journal)).toMatch(/has no audit chain/)
  const help = await verify('--help')
  expect(help).toMatchObject({ status: 0, noted: [] })
  expect(help.said[0]).toMatch(/^Usage: audit verify \[FILE\]/)
})

test('a database in which nothing is left is not taken for one that is intact', async () => {
  const empty = await tampered((db) => {
    db.exec('PRAGMA foreign_keys = OFF')
    db.exec('DELETE FROM audit; DELETE FROM orgs')
  })
  for (const args of [[], ['--head', `12:${'a'.repeat(64)}`], ['--org', orgId]]) {
    const { status, said, noted } = await verify(empty, ...args)
    expect({ status, said }).toEqual({ status: 2, said: [] })
    expect(noted.join('')).toMatch(
      /has no org and no audit row: there is nothing to verify.*\(AUDIT_EMPTY\)$/,
    )
  }
})

test('as a command: it answers with its exit status, and leaves the file as it was', async () => {
  const main = join(import.meta.dirname, '../../src/main.ts')
  const run = (file: string) =>
    promisify(execFile)(process.execPath, ['--conditions=holdpoint-source', main, 'audit', 'verify', file], {
      cwd: dir,
    }).then(
      ({ stdout }) => ({ code: 0, stdout }),
      ({ code, stdout }: { code: number; stdout: string }) => ({ code, stdout }),
    )
  const before = await readFile(original)
  expect(await run(original)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`${orgId}: intact`) as string,
  })
  expect(await readFile(original)).toEqual(before)
  const broken = await tampered((db) => void cut(db, SEQ))
  expect(await run(broken)).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('Row 6 is missing') as string,
  })
  expect(await run(join(dir, 'nowhere'))).toMatchObject({ code: 2 })
})
