import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { AuditResponse, AuditRowBody, AuditVerifyResponse } from '../../src/machineid/wire-evidence.ts'
import { addAuditRows } from '../fixtures/audit-rows.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

const DEVICE = 'openai-agent:test:payments:01'
const ROWS = 6000

/** A control plane whose org has a long chain; each test that tampers with it puts it back. */
let authority: TestControlPlane
let keys: TestControlPlane['keys']
beforeAll(async () => {
  authority = await startTestControlPlane()
  keys = authority.keys
  await authority.kill()
  addAuditRows(authority.file, authority.orgId, ROWS)
  await authority.restart()
}, 60_000)
afterAll(() => authority.close())

async function read(query = '', key = keys.viewer) {
  const { status, body } = await authority.get(`${PATHS.audit}${query}`, key)
  return { ...(status === 200 ? AuditResponse.parse(body) : body), httpStatus: status }
}
async function verify(query = '', key = keys.viewer) {
  const { status, body } = await authority.get(`${PATHS.auditVerify}${query}`, key)
  return { ...(status === 200 ? AuditVerifyResponse.parse(body) : body), httpStatus: status }
}
const fetchExport = (query = '', init: RequestInit = {}, key = keys.viewer) =>
  fetch(`${authority.url}${PATHS.audit}?format=jsonl${query}`, { ...init, headers: { 'x-org-key': key } })
const linesOf = (text: string) =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => AuditRowBody.strict().parse(JSON.parse(line)))
/** Somebody at the file, while the control plane runs. */
function tamper(sql: string, ...values: (string | number)[]): void {
  const db = new DatabaseSync(authority.file, { timeout: 5000 })
  db.prepare(sql).run(...values)
  db.close()
}

test('the chain comes in pages, from the first row on, each with where the next begins', async () => {
  const first = await read('?limit=2')
  expect(first.rows.map(({ seq, action }: { seq: number; action: string }) => [seq, action])).toEqual([
    [1, 'org.create'],
    [2, 'org.plan'],
  ])
  expect(first.nextAfter).toBe(2)
  expect(first.rows[1]).toMatchObject({ orgId: authority.orgId, prevHash: first.rows[0].hash, actor: 'test' })
  const second = await read(`?limit=2&after=${first.nextAfter}`)
  expect(second.rows[0].seq).toBe(3)
  expect((await read()).rows).toHaveLength(100)
  const last = await read(`?after=${ROWS + 1}`)
  expect(last).toMatchObject({ rows: [{ seq: ROWS + 2 }], nextAfter: null })
  expect(await read(`?after=${ROWS + 2}`)).toMatchObject({ rows: [], nextAfter: null })
})

test('only keys that may see it do, each only its own org', async () => {
  for (const kind of ['runtime', 'stop'] as const) {
    for (const answer of [await read('', keys[kind]), await verify('', keys[kind])]) {
      expect(answer).toMatchObject({ httpStatus: 403, code: 'INSUFFICIENT_SCOPE' })
    }
    expect((await fetchExport('', {}, keys[kind])).status).toBe(403)
  }
  const other = await authority.service.createOrg({ kinds: ['viewer'] })
  const key = other.keys.viewer ?? ''
  expect(await read('', key)).toMatchObject({ rows: [{ orgId: other.orgId, action: 'org.create' }] })
  expect(await verify('', key)).toMatchObject({ orgId: other.orgId, rows: 1, intact: true })
})

test('an export has every row, as it was hashed, one a line', async () => {
  const response = await fetchExport()
  expect(response.headers.get('content-type')).toBe('application/x-ndjson')
  expect(response.headers.get('content-disposition')).toBe(
    `attachment; filename="audit-${authority.orgId}.jsonl"`,
  )
  expect(response.headers.get('cache-control')).toBe('no-store, no-transform')
  const rows = linesOf(await response.text())
  expect(rows.map(({ seq }) => seq)).toEqual(Array.from({ length: ROWS + 2 }, (_, index) => index + 1))

  const rest = linesOf(await (await fetchExport(`&after=${ROWS}`)).text())
  expect(rest.map(({ seq }) => seq)).toEqual([ROWS + 1, ROWS + 2])
  expect(await (await fetchExport(`&after=${ROWS + 2}`)).text()).toBe('')
})

test('an export has no pages', async () => {
  const response = await fetchExport('&limit=10')
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({
    code: 'BAD_REQUEST',
    message: '"limit" is of pages: an export has every row. Leave it out, or give "after".',
  })
})

test('verified here: intact, with the last row to note elsewhere', async () => {
  const report = await verify()
  expect(report).toMatchObject({ intact: true, rows: ROWS + 2, firstBroken: null })
  expect(report.head.seq).toBe(ROWS + 2)
  const { seq, hash } = report.head
  expect(await verify(`?seq=${seq}&hash=${hash}`)).toMatchObject({ intact: true })
  expect(await verify(`?seq=${seq}&hash=${'a'.repeat(64)}`)).toMatchObject({
    intact: false,
    head: null,
    firstBroken: { seq, problem: expect.stringContaining('is not the one that was noted') },
  })
  expect(await verify(`?seq=${seq + 1}&hash=${hash}`)).toMatchObject({
    intact: false,
    firstBroken: { seq: seq + 1, id: null, problem: expect.stringContaining('cut off at the end') },
  })
})

test.each(['?seq=3', `?hash=${'a'.repeat(64)}`, '?seq=0&hash=a', '?seq=3&hash=abc'])(
  'half a noted row, or none at all, is refused: %s',
  async (query) => {
    expect(await verify(query)).toMatchObject({ httpStatus: 400, code: 'BAD_REQUEST' })
  },
)

test('the first broken row is named while the control plane runs', async () => {
  const change = (reason: string) =>
    tamper('UPDATE audit SET reason = ? WHERE org_id = ? AND seq = 777', reason, authority.orgId)
  const { rows } = await read('?after=776&limit=1')
  change('nothing happened')
  try {
    expect(await verify()).toMatchObject({
      httpStatus: 200,
      intact: false,
      rows: ROWS + 2,
      firstBroken: { seq: 777, id: rows[0].id, problem: expect.stringContaining('does not fit its hash') },
    })
  } finally {
    change('drill')
  }
  expect(await verify()).toMatchObject({ intact: true })
})

test.each([
  ['after', 'no JSON at all'],
  ['at_ms', 2 ** 53],
])('a row that cannot even be read any more is named too: %s', async (column, value) => {
  const db = new DatabaseSync(authority.file, { readOnly: true })
  const was = db.prepare(`SELECT ${column} FROM audit WHERE org_id = ? AND seq = 250`).get(authority.orgId)
  db.close()
  const change = (to: string | number) =>
    tamper(`UPDATE audit SET ${column} = ? WHERE org_id = ? AND seq = 250`, to, authority.orgId)
  change(value)
  try {
    expect(await verify()).toMatchObject({ httpStatus: 200, intact: false, firstBroken: { seq: 250 } })
  } finally {
    change(was?.[column] as string | number)
  }
  expect(await verify()).toMatchObject({ intact: true })
})

test('while chains are verified and taken away, other calls get their turn', async () => {
  await authority.post(PATHS.register, { deviceId: DEVICE }, keys.full)
  let running = true
  const long = Promise.all([
    ...Array.from({ length: 4 }, () => verify()),
    ...Array.from({ length: 4 }, async () => (await fetchExport()).text()),
  ]).finally(() => (running = false))
  let stops = 0
  for (; running; stops++) await authority.revoke(DEVICE)
  await long
  // All of them together read one slice in each turn of the event loop, so that stops go between any two.
  expect(stops).toBeGreaterThan(50)
})

test('a key has a bounded number of long answers open, and gets its place back', async () => {
  const stopped = new AbortController()
  const open = await Promise.all(
    Array.from({ length: 20 }, () => fetchExport('', { signal: stopped.signal })),
  )
  expect(open.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
  const refused = await fetchExport()
  expect(refused.status).toBe(429)
  expect(await refused.json()).toMatchObject({
    code: 'TOO_MANY_STREAMS',
    message: 'This key has 20 streams open, the most it may have. Close one, or use another key.',
  })
  expect(await verify()).toMatchObject({ httpStatus: 429, code: 'TOO_MANY_STREAMS' })
  expect(await verify('', keys.operator)).toMatchObject({ httpStatus: 200 })
  stopped.abort()
  await expect.poll(async () => (await verify()).httpStatus).toBe(200)
})

test('an export breaks off when its key is burned: what is there does not look whole', async () => {
  const issued = await authority.service.issueKey({ orgId: authority.orgId, kind: 'viewer' })
  const response = await fetchExport('', {}, issued.key)
  const burned = await authority.post(PATHS.keyBurn.replace(':id', issued.keyId), {}, keys.admin)
  expect(burned.status).toBe(200)
  await expect(response.text()).rejects.toThrow()
})

test('a verification ends with its key: what was not read is not called intact', async () => {
  const issued = await authority.service.issueKey({ orgId: authority.orgId, kind: 'viewer' })
  const verifying = verify('', issued.key)
  await authority.post(PATHS.keyBurn.replace(':id', issued.keyId), {}, keys.admin)
  expect(await verifying).toMatchObject({
    httpStatus: 503,
    message: expect.stringContaining('This ended before the last row was read'),
  })
})
