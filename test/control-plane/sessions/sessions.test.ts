import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { systemClock } from '../../../src/clock.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { SessionResponse, SIGN_IN_KINDS } from '../../../src/machineid/wire-sessions.ts'
import { backUp } from '../../../src/store/sqlite/backup.ts'
import { restoreBackup } from '../../../src/store/sqlite/restore-backup.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'
import { logLines } from '../../fixtures/log-lines.ts'
import { cookieOf, signIn, startSession } from './browser.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const { log, lines } = logLines()

// It stands still until it is moved, so that it does not matter how long a test takes.
const { monotonicMs, wallMs } = systemClock.now()
let aheadMs = 0
const clock = { now: () => ({ monotonicMs: monotonicMs + aheadMs, wallMs: wallMs + aheadMs }) }
const advance = (ms: number) => void (aheadMs += ms)

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestControlPlane({ clock, log })
})
afterAll(() => authority.close())

const issue = (kind: 'viewer' | 'stop' | 'operator' | 'admin' | 'full' | 'runtime') =>
  authority.service.issueKey({ orgId: authority.orgId, kind })
const rowsOf = async (action: string) =>
  (await authority.get(`${PATHS.audit}?limit=1000`, authority.keys.admin)).body.rows.filter(
    (row: { action: string }) => row.action === action,
  )

describe('signing in with a key', () => {
  test.each(SIGN_IN_KINDS)('as %s: the session may do what the key may', async (kind) => {
    const answer = await startSession(authority, { key: authority.keys[kind] })
    expect(answer.status).toBe(200)
    const session = SessionResponse.parse(answer.body)
    expect(session).toMatchObject({ kind, orgId: authority.orgId, email: null })
    expect(Date.parse(session.idleAt) - Date.parse(session.startedAt)).toBe(HOUR_MS)
    expect(Date.parse(session.endsAt) - Date.parse(session.startedAt)).toBe(12 * HOUR_MS)
    expect(answer.headers.get('set-cookie')).toMatch(
      /^holdpoint-session=hps_[0-9a-f-]{36}_[0-9A-Za-z]{43}_[0-9A-Za-z]{43}; Path=\/; HttpOnly; SameSite=Strict$/,
    )
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const person = await signIn(authority, { key: authority.keys[kind] })
    expect((await person.get(PATHS.session)).body).toMatchObject({
      kind,
      csrfToken: person.session.csrfToken,
    })
    const enabling = await person.post(PATHS.orgEnable, { ifEpoch: 0 })
    expect(enabling.body.code === 'INSUFFICIENT_SCOPE').toBe(kind !== 'admin' && kind !== 'full')
  })

  test('is not for a runtime key, nor with a key that is unknown or burned', async () => {
    const { key, keyId } = await issue('operator')
    await authority.post(PATHS.keyBurn.replace(':id', keyId), {}, authority.keys.admin)
    const codes = []
    for (const given of [authority.keys.runtime, 'org_nothing', key]) {
      const answer = await startSession(authority, { key: given })
      codes.push(answer.body.code)
      expect(answer.headers.get('set-cookie')).toBeNull()
    }
    expect(codes).toEqual(['INSUFFICIENT_SCOPE', 'KEY_INVALID', 'KEY_BURNED'])
    expect((await startSession(authority, {})).body.code).toBe('BAD_REQUEST')
  })

  test('takes the place of the sign-in before in the same browser', async () => {
    const first = await signIn(authority, { key: authority.keys.viewer })
    const second = await startSession(authority, { key: authority.keys.operator }, { cookie: first.cookie })
    expect(second.status).toBe(200)
    expect((await first.get(PATHS.session)).body.code).toBe('SESSION_ENDED')
  })

  test('is not possible on the lane of agents, and no cookie works there', async () => {
    const { url } = authority
    const answer = await startSession({ operatorUrl: url }, { key: authority.keys.admin })
    expect([answer.status, answer.body.code]).toEqual([421, 'WRONG_LANE'])
    const person = await signIn(authority, { key: authority.keys.full })
    for (const path of [PATHS.session, PATHS.list, `${PATHS.validate}?deviceId=a:b:c`]) {
      const refused = await authority.get(path, undefined, { cookie: person.cookie })
      expect([refused.status, refused.body.code]).toEqual([401, 'KEY_MISSING'])
    }
  })

  test('a key in the header goes before the cookie', async () => {
    const person = await signIn(authority, { key: authority.keys.admin })
    const both = { ...person.headers, 'x-org-key': authority.keys.viewer }
    expect((await person.post(PATHS.orgDisable, {}, both)).body.code).toBe('INSUFFICIENT_SCOPE')
    expect((await person.get(PATHS.session, both)).body.code).toBe('SESSION_REQUIRED')
    expect((await person.get(PATHS.list, { 'x-org-key': 'org_nothing' })).body.code).toBe('KEY_INVALID')
  })
})

describe('refreshing', () => {
  test('puts the idle end off and changes the token; the one before works for 60 s, an older one never', async () => {
    const person = await signIn(authority, { key: authority.keys.operator })
    advance(50 * MINUTE_MS)
    const refreshed = await person.post(PATHS.sessionRefresh)
    const first = Date.parse(person.session.idleAt)
    expect(Date.parse(refreshed.body.idleAt)).toBeGreaterThanOrEqual(first + 50 * MINUTE_MS)
    expect(refreshed.body).toMatchObject({
      endsAt: person.session.endsAt,
      csrfToken: person.session.csrfToken,
    })
    const next = person.as(cookieOf(refreshed))
    expect(next.cookie).not.toBe(person.cookie)
    expect((await next.get(PATHS.session)).status).toBe(200)
    advance(59_000)
    expect((await person.get(PATHS.list)).status).toBe(200)
    advance(1000)
    expect((await person.get(PATHS.list)).body.code).toBe('SESSION_ENDED')
    expect((await person.post(PATHS.sessionRefresh)).body.code).toBe('SESSION_ENDED')

    const third = next.as(cookieOf(await next.post(PATHS.sessionRefresh)))
    expect((await person.get(PATHS.list)).body.code).toBe('SESSION_ENDED')
    expect((await next.get(PATHS.list)).status).toBe(200)
    expect((await third.get(PATHS.list)).status).toBe(200)
  })

  test('twenty tabs at once, and one whose answer got lost, end up with the same token', async () => {
    const person = await signIn(authority, { key: authority.keys.operator })
    const answers = await Promise.all(Array.from({ length: 20 }, () => person.post(PATHS.sessionRefresh)))
    const cookies = new Set(answers.map(cookieOf))
    expect(cookies.size).toBe(1)
    const next = person.as([...cookies][0] ?? '')
    expect(next.cookie).not.toBe(person.cookie)
    // Within the minute it is not changed again: the one before would not live its minute.
    expect(cookieOf(await next.post(PATHS.sessionRefresh))).toBe(next.cookie)
    advance(MINUTE_MS)
    expect((await next.get(PATHS.session)).status).toBe(200)
  })

  test('is about a session: a key has none', async () => {
    const answer = await authority.post(PATHS.sessionRefresh, {}, authority.keys.admin)
    expect([answer.status, answer.body.code]).toEqual([401, 'SESSION_REQUIRED'])
  })
})

describe('time', () => {
  test('an hour without a refresh ends it, whatever else it asks', async () => {
    const person = await signIn(authority, { key: authority.keys.viewer })
    advance(59 * MINUTE_MS)
    expect((await person.get(PATHS.list)).status).toBe(200)
    advance(MINUTE_MS)
    const answer = await person.get(PATHS.list)
    expect([answer.status, answer.body.code]).toEqual([401, 'SESSION_ENDED'])
    expect(answer.body.message).toContain('Sign in again')
    // Latched: a clock that is set back does not bring it back.
    await authority.controlPlane.housekeeping.tick()
    advance(-30 * MINUTE_MS)
    expect((await person.get(PATHS.list)).body.code).toBe('SESSION_ENDED')
    advance(30 * MINUTE_MS)
    const ends = await rowsOf('session.end')
    expect(ends.at(-1)).toMatchObject({
      actor: 'local',
      after: { sessionId: person.session.sessionId, endedAs: 'idle' },
    })
  })

  test('a session of the future is none: when the clock is set back nobody knows how old it is', async () => {
    advance(DAY_MS)
    const person = await signIn(authority, { key: authority.keys.viewer })
    // A clock that is kept right jumps a little.
    advance(-5 * MINUTE_MS)
    expect((await person.get(PATHS.list)).status).toBe(200)
    advance(-DAY_MS)
    expect((await person.get(PATHS.list)).body.code).toBe('SESSION_ENDED')
    expect((await person.post(PATHS.sessionRefresh)).body.code).toBe('SESSION_ENDED')
    // Latched: it does not come to life when its time comes.
    await authority.controlPlane.housekeeping.tick()
    advance(DAY_MS + 5 * MINUTE_MS)
    expect((await person.get(PATHS.list)).body.code).toBe('SESSION_ENDED')
    expect((await rowsOf('session.end')).at(-1).after).toMatchObject({ endedAs: 'expired' })
  })

  test('twelve hours end it, however often it is refreshed', async () => {
    let person = await signIn(authority, { key: authority.keys.viewer })
    for (let refreshed = 0; refreshed < 14; refreshed++) {
      advance(50 * MINUTE_MS)
      person = person.as(cookieOf(await person.post(PATHS.sessionRefresh)))
    }
    const { body } = await person.get(PATHS.session)
    expect(body.idleAt).toBe(body.endsAt)
    advance(20 * MINUTE_MS)
    expect((await person.post(PATHS.sessionRefresh)).body.code).toBe('SESSION_ENDED')
    await authority.controlPlane.housekeeping.tick()
    expect((await rowsOf('session.end')).at(-1).after).toMatchObject({ endedAs: 'expired' })
  })

  test('a day later it is forgotten; that it was is in the audit', async () => {
    const person = await signIn(authority, { key: authority.keys.viewer })
    await person.post(PATHS.sessionEnd)
    advance(24 * HOUR_MS + 1000)
    await authority.controlPlane.housekeeping.tick()
    using db = new DatabaseSync(authority.file, { readOnly: true })
    expect(db.prepare('SELECT count(*) AS n FROM sessions').get()).toEqual({ n: 0 })
    expect((await rowsOf('session.start')).length).toBeGreaterThan(0)
  })
})

describe('signing out', () => {
  const status = async (person: Awaited<ReturnType<typeof signIn>>) =>
    (await person.get(PATHS.session)).status

  test('ends this session, and takes the cookie away', async () => {
    const one = await signIn(authority, { key: authority.keys.viewer })
    const other = await signIn(authority, { key: authority.keys.viewer })
    const answer = await one.post(PATHS.sessionEnd)
    expect(answer.body).toMatchObject({ ended: 1 })
    expect(answer.headers.get('set-cookie')).toMatch(/^holdpoint-session=; .*Max-Age=0$/)
    expect([await status(one), await status(other)]).toEqual([401, 200])
  })

  test('everywhere: mine are those of my key; org is for an admin, who can also do it with a key alone', async () => {
    const epoch = async () => (await authority.get(PATHS.usage, authority.keys.admin)).body.orgEpoch
    const before = await epoch()
    const mine = await Promise.all([1, 2].map(() => signIn(authority, { key: authority.keys.operator })))
    const other = await signIn(authority, { key: authority.keys.stop })
    expect((await mine[0]?.post(PATHS.sessionEnd, { scope: 'org' }))?.body.code).toBe('INSUFFICIENT_SCOPE')
    await mine[0]?.post(PATHS.sessionEnd, { scope: 'mine' })
    expect(await Promise.all(mine.map(status))).toEqual([401, 401])
    expect(await status(other)).toBe(200)
    const byKey = await authority.post(PATHS.sessionEnd, { scope: 'org' }, authority.keys.admin)
    expect(byKey.body.ended).toBeGreaterThan(0)
    expect(await status(other)).toBe(401)
    // No stop: no epoch is raised.
    expect(await epoch()).toBe(before)
  })

  test('the eleventh session of a key ends its oldest', async () => {
    const { key } = await issue('viewer')
    const people = []
    for (let count = 0; count < 11; count++) {
      people.push(await signIn(authority, { key }))
      advance(1)
    }
    expect(await Promise.all(people.map(status))).toEqual([401, ...Array.from({ length: 10 }, () => 200)])
    expect((await rowsOf('session.end')).at(-1).after).toMatchObject({ endedAs: 'replaced' })
  })

  test('an org has a hundred at most, and makes room for the newest', async () => {
    await authority.post(PATHS.sessionEnd, { scope: 'org' }, authority.keys.admin)
    const people = []
    for (let keys = 0; keys < 11; keys++) {
      const { key } = await issue('viewer')
      const each = keys === 10 ? 1 : 10
      for (let count = 0; count < each; count++) people.push(await signIn(authority, { key }))
      advance(1)
    }
    expect(people).toHaveLength(101)
    const statuses = await Promise.all(people.map(status))
    expect(statuses.filter((code) => code === 401)).toHaveLength(1)
    expect(statuses.slice(10)).toEqual(Array.from({ length: 91 }, () => 200))
  })
})

describe('a key that ends', () => {
  test('G1: burned while signed in, the next call with the cookie is refused', async () => {
    const { key, keyId } = await issue('operator')
    const person = await signIn(authority, { key })
    expect((await person.get(PATHS.list)).status).toBe(200)
    await authority.post(PATHS.keyBurn.replace(':id', keyId), {}, authority.keys.admin)
    for (const answer of [await person.get(PATHS.list), await person.post(PATHS.sessionRefresh)]) {
      expect([answer.status, answer.body.code]).toEqual([401, 'KEY_BURNED'])
    }
  })

  test('G6: a session of a full key says what it saw, as every other does: only the key itself may leave it out', async () => {
    const person = await signIn(authority, { key: authority.keys.full })
    const deviceId = 'g6:test:full:1'
    await authority.register(deviceId)
    await person.post(PATHS.revoke, { deviceId })
    expect((await person.post(PATHS.unrevoke, { deviceId })).body.code).toBe('EPOCH_REQUIRED')
    const batch = await person.post(PATHS.unrevokeBatch, { items: [{ deviceId }] })
    expect(batch.body.results).toMatchObject([{ ok: false, code: 'EPOCH_REQUIRED' }])
    expect((await authority.post(PATHS.unrevoke, { deviceId }, authority.keys.full)).status).toBe(200)
  })

  test('G6: what a session has sent before its key was burned, or it was signed out, changes nothing after', async () => {
    await authority.register('g6:test:x:1')
    for (const end of ['burn', 'sign out'] as const) {
      const { key, keyId } = await issue('operator')
      const { session } = await signIn(authority, { key })
      const caller = {
        actor: keyId,
        kind: 'operator',
        keyId,
        sessionId: session.sessionId,
        requestId: null,
        origin: null,
      } as const
      const revoke = () => authority.service.revoke(caller, authority.orgId, { deviceId: 'g6:test:x:1' })
      await revoke()
      if (end === 'burn') await authority.post(PATHS.keyBurn.replace(':id', keyId), {}, authority.keys.admin)
      else await authority.post(PATHS.sessionEnd, { scope: 'mine' }, key)
      await expect(revoke()).rejects.toMatchObject({ code: end === 'burn' ? 'KEY_BURNED' : 'SESSION_ENDED' })
    }
  })
})

test('beginnings and ends are in the audit; a token, its digest or what proves a POST is nowhere', async () => {
  const person = await signIn(authority, { key: authority.keys.admin })
  const disabled = await person.post(PATHS.orgDisable, { reason: 'by cookie' })
  expect(disabled.status).toBe(200)
  const { sessionId, keyId, csrfToken } = person.session
  const starts = await rowsOf('session.start')
  expect(starts.at(-1)).toMatchObject({
    actor: keyId,
    actorKind: 'admin',
    origin: '127.0.0.1',
    after: { sessionId, keyId, kind: 'admin', email: null },
  })
  // Who did it is the key, as with a header.
  expect((await rowsOf('org.disable')).at(-1)).toMatchObject({ actor: keyId, actorKind: 'admin' })
  await person.post(PATHS.orgEnable, { ifEpoch: disabled.body.epoch })
  await person.post(PATHS.sessionEnd)
  const token = person.cookie.split('=')[1] ?? 'none'
  const written = JSON.stringify([
    lines(),
    (await authority.get(`${PATHS.audit}?limit=1000`, authority.keys.admin)).body,
  ])
  const [, , root = 'none', secret = 'none'] = token.split('_')
  using db = new DatabaseSync(authority.file, { readOnly: true })
  const stored = JSON.stringify(db.prepare('SELECT * FROM sessions').all())
  expect(stored).toContain(sessionId)
  for (const hidden of [root, secret, csrfToken.slice(4), authority.keys.admin]) {
    expect(hidden.length).toBeGreaterThanOrEqual(43)
    expect(written).not.toContain(hidden)
    expect(stored).not.toContain(hidden)
  }
})

test('G6: a restored backup has no session that works, even when it keeps its keys', async () => {
  await using before = await startTestControlPlane()
  const person = await signIn(before, { key: before.keys.viewer })
  const backup = join(before.dir, 'backup.db')
  await backUp({ from: before.file, to: backup })
  await before.kill(1000)
  await restoreBackup({ backup, file: before.file, keepKeys: true })
  await before.restart()
  expect((await before.get(PATHS.list, before.keys.viewer)).status).toBe(200)
  expect((await person.get(PATHS.list)).body.code).toBe('SESSION_ENDED')
})
