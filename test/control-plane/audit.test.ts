import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { systemClock } from '../../src/clock.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { KEY_HEADER } from '../../src/machineid/wire.ts'
import { openAuditFile } from '../../src/store/sqlite/audit-file.ts'
import type { HttpAnswer } from '../fixtures/control-plane.ts'
import { OWNER, startTestRecovery, type TestRecovery } from '../fixtures/recovery.ts'
import { consoleSteps } from './audit-steps-console.ts'
import { auditSteps, BY_PLATFORM, keyIdOf, type Asking } from './audit-steps.ts'

// Every call that changes something, one after the other, each with exactly the rows that it leaves. A call that is
// refused, and one that changes nothing, leaves none.

const EMAIL = 'openai-agent:test:email:01'
const PLATFORM = { authorization: 'Bearer platform' }

let movedMs = 0
const clock = {
  now: () => {
    const { monotonicMs, wallMs } = systemClock.now()
    return { monotonicMs: monotonicMs + movedMs, wallMs: wallMs + movedMs }
  },
}
let recovery: TestRecovery
let made = ''
beforeAll(async () => {
  recovery = await startTestRecovery({ clock, platformToken: 'platform' })
})
afterAll(() => recovery[Symbol.asyncDispose]())

const asked = new Set<string>()
function post(path: string, body: object, kind: Asking, id = ''): Promise<HttpAnswer> {
  const { authority } = recovery
  asked.add(path.split('?')[0] ?? '')
  const key = kind === 'platform' || kind === 'nobody' ? undefined : authority.keys[kind]
  const platform = kind === 'platform' ? PLATFORM : {}
  // People sign in on the operators' lane only.
  if (path.startsWith(PATHS.session)) return postTo(authority.operatorUrl + path, body, key)
  return authority.post(path.replace(':id', id), body, key, platform)
}

async function postTo(url: string, body: object, key?: string): Promise<HttpAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== undefined && { [KEY_HEADER]: key }) },
    body: JSON.stringify(body),
  })
  return { status: response.status, body: await response.json(), headers: response.headers }
}

function rowsSince(seq: number, orgId = recovery.authority.orgId) {
  const file = openAuditFile(recovery.authority.file)
  const rows = [...file.rows(orgId)].flatMap((row) => ('orgId' in row && row.seq > seq ? [row] : []))
  file.close()
  return rows
}
const lastSeq = () => rowsSince(0).at(-1)?.seq ?? 0
const steps = [
  ...consoleSteps({ recovery: () => recovery, post }),
  ...auditSteps({
    recovery: () => recovery,
    post,
    nowMs: () => clock.now().wallMs,
    move: (ms) => void (movedMs += ms),
  }),
]

test.each(steps)('$name', async ({ act, rows: expected }) => {
  const before = lastSeq()
  const answer = await act()
  const rows = rowsSince(before)
  expect(rows).toMatchObject(expected())
  for (const row of rows) {
    expect(row.orgId).toBe(recovery.authority.orgId)
    expect(Math.abs(row.atMs - clock.now().wallMs)).toBeLessThan(10_000)
    if (answer === undefined) continue
    // From where, and under which id the caller knows it.
    expect(row).toMatchObject({
      requestId: answer.body.request_id,
      origin: expect.stringMatching(/^(::ffff:)?127\.0\.0\.1$/),
    })
  }
})

test('a new org begins its chain, with who its owners and keys are', async () => {
  const answer = await post(PATHS.orgCreate, { email: OWNER, kinds: ['viewer'] }, 'platform')
  const { orgId, request_id: requestId, keys } = answer.body
  expect(rowsSince(0, orgId)).toMatchObject([
    {
      ...BY_PLATFORM,
      seq: 1,
      action: 'org.create',
      requestId,
      before: null,
      after: {
        owners: [OWNER],
        keys: [
          { kind: 'full', keyId: keyIdOf(answer.body.orgApiKey) },
          { kind: 'viewer', keyId: keyIdOf(keys.viewer) },
        ],
      },
    },
  ])
  made = orgId
})

test('no call that changes anything was left out', async () => {
  const { body } = await recovery.authority.get(PATHS.openapi)
  const calls = Object.entries<object>(body.paths)
    .filter(([path, methods]) => 'post' in methods && path !== PATHS.validate && path !== PATHS.validateBatch)
    .map(([path]) => path.replace('{id}', ':id'))
  expect([...asked].toSorted()).toEqual(calls.toSorted())
})

test('no row has a key, a token or a digest of one', async () => {
  const { authority } = recovery
  const db = new DatabaseSync(authority.file, { readOnly: true })
  const column = (sql: string) =>
    db
      .prepare(sql)
      .all()
      .map((row) => String(Object.values(row)[0]))
  const digests = [...column('SELECT digest FROM keys'), ...column('SELECT digest FROM recovery_links')]
  db.close()
  expect(digests.length).toBeGreaterThan(10)
  const rows = JSON.stringify(
    [...rowsSince(0), ...rowsSince(0, made)].map(({ hash: _h, prevHash: _p, ...row }) => row),
  )
  for (const digest of digests) expect(rows).not.toContain(digest)
  for (const secret of Object.values(authority.keys)) expect(rows).not.toContain(secret.slice(-40))
  // A drill's report is no secret, and neither is what an approval is bound to.
  const others = rows.replaceAll(/"(?:reportSha256|digest)":"[0-9a-f]{64}"/g, '')
  expect(others).not.toMatch(/org_[a-z]+_[a-z2-7]{16}_|hpr_|[0-9a-f]{64}/)
})

test('the chain that all of this made is intact', async () => {
  const { body } = await recovery.authority.get(PATHS.auditVerify, recovery.authority.keys.viewer)
  expect(body).toMatchObject({ intact: true, rows: lastSeq() })
})

test('a change whose transaction fails leaves no row', async () => {
  const { authority } = recovery
  const before = rowsSince(0)
  const db = new DatabaseSync(authority.file, { timeout: 5000 })
  db.exec(
    "CREATE TRIGGER fails AFTER INSERT ON audit WHEN NEW.reason = 'fails' BEGIN SELECT raise(ABORT, 'no'); END",
  )
  const device = async () =>
    (await authority.get(PATHS.list, authority.keys.viewer)).body.devices.find(
      (one: { deviceId: string }) => one.deviceId === EMAIL,
    )
  const was = await device()
  const answer = await post(PATHS.revoke, { deviceId: EMAIL, reason: 'fails' }, 'stop')
  expect(answer.status).toBeGreaterThanOrEqual(500)
  expect(rowsSince(0)).toEqual(before)
  expect(await device()).toEqual(was)
  db.exec('DROP TRIGGER fails')
  db.close()
})
