import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { AuditResponse, AuditRowBody } from '../../src/machineid/wire-evidence.ts'
import { addAuditRows } from '../fixtures/audit-rows.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

// Newest first, filters, and a spreadsheet: of one chain of 3000 rows, and then what was done by hand.

const ROWS = 3000
const PAY = 'hand:test:payments:01'
const MAIL = 'hand:test:email:01'
const HOSTILE = [
  '=HYPERLINK("http://evil.example";"look")',
  '+1+cmd|/c calc',
  '-2+3',
  '@SUM(1,1)',
  '\tx',
  '\r=1',
  '＝1+1',
  'two\nlines, a "quote" and a comma',
  'later;=HYPERLINK(1)',
  'later\n=1+1',
]

let authority: TestControlPlane
let firstByHand: number
let startedAt: string
beforeAll(async () => {
  authority = await startTestControlPlane()
  await authority.kill()
  addAuditRows(authority.file, authority.orgId, ROWS)
  await authority.restart()
  firstByHand = ROWS + 3
  startedAt = new Date().toISOString()
  await authority.register(PAY)
  await authority.register(MAIL)
  for (const reason of HOSTILE) await post(PATHS.revoke, { deviceId: PAY, reason })
  await post(PATHS.locks, { pattern: 'hand:test:payments:*', reason: 'a lock' })
  await post(PATHS.locks, { pattern: 'other:*', reason: 'another lock' })
  await post(PATHS.orgDisable, { reason: 'all of it' })
}, 60_000)
afterAll(() => authority.close())

async function post(path: string, body: unknown) {
  const answer = await authority.post(path, body, authority.keys.stop)
  expect(answer.status).toBe(200)
}
async function read(query: Record<string, string | number>) {
  const text = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) text.set(name, String(value))
  const { status, body } = await authority.get(`${PATHS.audit}?${text.toString()}`, authority.keys.viewer)
  expect(status, JSON.stringify(body)).toBe(200)
  return AuditResponse.parse(body)
}
const fetchText = async (query: string) => {
  const headers = { 'x-org-key': authority.keys.viewer }
  const response = await fetch(`${authority.url}${PATHS.audit}?${query}`, { headers })
  return { response, text: await response.text() }
}
const actions = ({ rows }: AuditResponse) => rows.map(({ action }) => action)
type AuditResponse = Awaited<ReturnType<typeof read>>

describe('newest first', () => {
  test('pages go from the last row to the first, none twice and none left out', async () => {
    const all: number[] = []
    let before: number | null = null
    do {
      const page: AuditResponse = await read({
        order: 'newest',
        limit: 700,
        ...(before !== null && { before }),
      })
      all.push(...page.rows.map(({ seq }) => seq))
      expect(page.nextAfter).toBeNull()
      before = page.nextBefore
    } while (before !== null)
    expect(all).toEqual(Array.from({ length: all.length }, (_, index) => all.length - index))
    expect(all.length).toBeGreaterThan(ROWS)
  })

  test('"before" alone says it too, and the first row ends it', async () => {
    const page = await read({ before: 3, limit: 2 })
    expect(page.rows.map(({ seq }) => seq)).toEqual([2, 1])
    expect(page.nextBefore).toBeNull()
    expect((await read({ before: 1 })).rows).toEqual([])
  })

  test.each([
    ['after=1&before=5', 'not both'],
    ['after=1&order=newest', 'Newest first, give "before"'],
    ['before=5&order=oldest', 'Oldest first, give "after"'],
    ['format=csv&before=5', 'An export begins with the oldest row'],
    ['format=jsonl&order=newest', 'An export begins with the oldest row'],
    ['format=csv&limit=5', '"limit" is of pages'],
    ['device=a%20b', '"device" must be'],
    ['from=yesterday', '"from" must be'],
  ])('what says two things at once, or nothing, is refused: %s', async (query, said) => {
    const { status, body } = await authority.get(`${PATHS.audit}?${query}`, authority.keys.viewer)
    expect(status).toBe(400)
    expect(body).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining(said) })
  })
})

describe('filters', () => {
  test('by action, or by what stands before its dot; never by a part of that', async () => {
    expect(actions(await read({ action: 'lock.add' }))).toEqual(['lock.add', 'lock.add'])
    expect(new Set(actions(await read({ action: 'lock' })))).toEqual(new Set(['lock.add']))
    expect(new Set(actions(await read({ action: 'org' })))).toEqual(
      new Set(['org.create', 'org.plan', 'org.disable']),
    )
    expect(actions(await read({ action: 'loc' }))).toEqual([])
    expect(actions(await read({ action: 'org%' }))).toEqual([])
  })

  test('by device ID or pattern, with the locks that are about it', async () => {
    const ofPay = actions(await read({ device: PAY, order: 'newest' }))
    expect(ofPay).toEqual(['lock.add', ...HOSTILE.map(() => 'device.revoke'), 'device.register'])
    expect(actions(await read({ device: 'hand:test:*', limit: 3 }))).toEqual([
      'device.register',
      'device.register',
      'device.revoke',
    ])
    expect(actions(await read({ device: MAIL }))).toEqual(['device.register'])
  })

  test('by actor and time, and by all of it together', async () => {
    const stop = authority.keys.stop.split('_')[2] ?? ''
    const mine = await read({ actor: stop })
    expect(mine.rows).toHaveLength(HOSTILE.length + 3)
    expect((await read({ actor: 'mfzwizltoq2gc3tu', limit: 1000 })).rows).toHaveLength(1000)
    expect((await read({ from: startedAt })).rows.map(({ seq }) => seq)).toEqual(
      Array.from({ length: HOSTILE.length + 5 }, (_, index) => firstByHand + index),
    )
    expect((await read({ to: startedAt, order: 'newest', limit: 1 })).rows[0]?.seq).toBe(ROWS + 2)
    const all = await read({ actor: stop, action: 'device', device: PAY, from: startedAt, limit: 2 })
    expect(actions(all)).toEqual(['device.revoke', 'device.revoke'])
    expect(all.nextAfter).toBe(all.rows[1]?.seq)
    expect((await read({ actor: stop, action: 'org', device: PAY })).rows).toEqual([])
  })

  test('a filtered page goes on where the last one ended, in both directions', async () => {
    const newest = await read({ action: 'lock', order: 'newest', limit: 1 })
    expect(newest.rows[0]?.reason).toBe('another lock')
    const next = await read({ action: 'lock', before: newest.nextBefore ?? 0, limit: 1 })
    expect(next.rows[0]?.reason).toBe('a lock')
    expect((await read({ action: 'lock', before: next.rows[0]?.seq ?? 0 })).rows).toEqual([])
  })

  test('an export has what fits of the whole chain', async () => {
    const { text } = await fetchText('format=jsonl&action=lock')
    const rows = text.trimEnd().split('\n')
    expect(rows.map((line) => AuditRowBody.parse(JSON.parse(line)).action)).toEqual(['lock.add', 'lock.add'])
  })
})

describe('a spreadsheet', () => {
  test('gets a header, one line for each row, and the values as JSON', async () => {
    const { response, text } = await fetchText('format=csv&action=device.register')
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
    expect(response.headers.get('content-disposition')).toBe(
      `attachment; filename="audit-${authority.orgId}.csv"`,
    )
    const [header = [], ...rows] = parsed(text)
    expect(header).toEqual(Object.keys(AuditRowBody.shape))
    expect(rows).toHaveLength(2)
    const [row] = (await read({ action: 'device.register', limit: 1 })).rows
    const after = rows[0]?.[header.indexOf('after')] ?? ''
    expect(JSON.parse(after)).toEqual(row?.after)
    expect(rows[0]?.[header.indexOf('hash')]).toBe(row?.hash)
    expect(rows[0]?.[header.indexOf('reason')]).toBe('')
  })

  test('runs nothing that somebody wrote as a reason', async () => {
    const { text } = await fetchText('format=csv&action=device.revoke&device=hand:*')
    const [header = [], ...rows] = parsed(text)
    const reasons = rows.map((row) => row[header.indexOf('reason')])
    const first = HOSTILE.map((reason) => (/^[^a-z]/.test(reason) ? `'${reason}` : reason))
    // Where decimals have a comma, cells end at a semicolon or a line, whatever quotes stand around them.
    expect(reasons).toEqual(first.map((reason) => reason.replace(/(?<=later[;\n]|'\r)=/, "'=")))
    expect(text).not.toMatch(/[;\r\n]"?[=+@-]/)
  })

  test('has the whole chain without a filter, and only its header where nothing fits', async () => {
    expect(parsed((await fetchText('format=csv')).text)).toHaveLength(firstByHand + HOSTILE.length + 5)
    expect(parsed((await fetchText('format=csv&action=none')).text)).toHaveLength(1)
  })
})

test('a search that nothing fits gives each stop its turn', async () => {
  const { service } = authority
  let running = true
  const searches = Promise.all(
    Array.from({ length: 10 }, () => read({ actor: 'nobody', order: 'newest' })),
  ).finally(() => (running = false))
  let turns = 0
  for (; running; turns++) await service.usage(authority.orgId).then(() => new Promise(setImmediate))
  for (const { rows, nextBefore } of await searches)
    expect({ rows, nextBefore }).toEqual({ rows: [], nextBefore: null })
  expect(turns).toBeGreaterThan(50)
})

/** RFC 4180, read by its own rules. */
function parsed(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    row.push(quoted?.replaceAll('""', '"') ?? bare ?? '')
    if (end === ',') continue
    rows.push(row)
    row = []
  }
  return rows
}
