import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { SessionResponse } from '../../../src/machineid/wire-sessions.ts'
import { openEventStream } from '../../fixtures/event-stream.ts'
import { auditOf, LOCAL, OWNER, startTestRecovery, type TestRecovery } from '../../fixtures/recovery.ts'
import { signIn, startSession, type SignedIn } from './browser.ts'

const SECOND = 'second@example.org'

let recovery: TestRecovery
beforeAll(async () => {
  recovery = await startTestRecovery({ consoleUrl: undefined, limitCalls: false })
  await recovery.authority.service.changeOwners(LOCAL, recovery.authority.orgId, { add: [SECOND] })
})
afterAll(() => recovery[Symbol.asyncDispose]())

const newLink = async (email = OWNER) =>
  (await recovery.authority.service.createRecoveryLink(LOCAL, recovery.authority.orgId, email))?.token ?? ''
const statusOf = async (person: SignedIn) => (await person.get(PATHS.list)).status

describe('signing in with a link that was mailed', () => {
  test('is as an admin, by a key that nobody is shown and that ends with the session', async () => {
    const { authority } = recovery
    const token = await recovery.newToken()
    const answer = await startSession(authority, { link: token })
    const session = SessionResponse.parse(answer.body)
    expect(session).toMatchObject({ kind: 'admin', email: OWNER, orgId: authority.orgId })
    expect(JSON.stringify(answer.body)).not.toMatch(/org_admin_/)
    const { body } = await authority.get(PATHS.keys, authority.keys.admin)
    expect(body.keys).toContainEqual(
      expect.objectContaining({
        keyId: session.keyId,
        kind: 'admin',
        createdBy: 'recovery',
        endsAt: session.endsAt,
        name: 'console sign-in by link',
      }),
    )
    expect(auditOf(authority, 'session.start').at(-1)).toMatchObject({
      actor: 'recovery',
      after: { sessionId: session.sessionId, keyId: session.keyId, email: OWNER },
    })
    expect(auditOf(authority, 'key.issue').at(-1)).toMatchObject({ actor: 'recovery' })
  })

  test('works once, in either way', async () => {
    const { authority } = recovery
    const link = await newLink()
    const answers = await Promise.all(Array.from({ length: 10 }, () => startSession(authority, { link })))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([
      200,
      ...Array.from({ length: 9 }, () => 410),
    ])
    expect((await recovery.confirm(link)).body.code).toBe('RECOVERY_LINK_INVALID')
    const spent = await newLink()
    expect((await recovery.confirm(spent)).status).toBe(200)
    expect((await startSession(authority, { link: spent })).body.code).toBe('RECOVERY_LINK_INVALID')
  })

  test('nobody who tries others from the same network keeps a genuine one away', async () => {
    await using limited = await startTestRecovery({ limitCalls: true })
    const { authority } = limited
    const links = [await limited.newToken(), await limited.newToken()]
    const codes = []
    for (let tries = 0; tries < 11; tries++) {
      codes.push((await startSession(authority, { link: `hpr_${'x'.repeat(43)}` })).body.code)
    }
    expect(codes.filter((code) => code === 'RECOVERY_LINK_INVALID')).toHaveLength(10)
    expect(codes.at(-1)).toBe('RATE_LIMITED')
    expect((await startSession(authority, { link: links[0] ?? '' })).status).toBe(200)
    expect((await limited.confirm(links[1] ?? '')).status).toBe(200)
  })

  test('tells every owner, from where, and what ends it; never a secret', async () => {
    const { authority } = recovery
    const link = await newLink()
    const person = await signIn(authority, { link })
    await authority.controlPlane.recovery.flush()
    for (const email of [OWNER, SECOND]) {
      const mail = recovery.mailsTo(email).at(-1)
      expect(mail?.text).toContain(`with a link that was mailed to ${OWNER}, as an admin`)
      expect(mail?.text).toContain(`Key ID: ${person.session.keyId}\nSigned in from 127.0.0.1, 20`)
      expect(mail?.text).toContain(`/api/v1/org/keys/${person.session.keyId}/burn`)
      expect(mail?.raw).not.toMatch(/hp[rsx]_/)
    }
    await authority.post(PATHS.keyBurn.replace(':id', person.session.keyId), {}, authority.keys.admin)
    expect((await person.get(PATHS.list)).body.code).toBe('KEY_BURNED')
    expect(JSON.stringify(recovery.lines())).not.toMatch(/hp[rsx]_[A-Za-z0-9]{8}/)
  })

  test('the mail offers both', async () => {
    await recovery.ask(SECOND)
    expect(recovery.mailsTo(SECOND).at(-1)?.text).toContain(
      'Open the link and choose there: sign in to the console, or make a new admin key.',
    )
  })

  test('"mine" is what the same owner has, whatever the key; who is no owner any more is signed out', async () => {
    const { authority } = recovery
    const first = await signIn(authority, { link: await newLink() })
    const second = await signIn(authority, { link: await newLink() })
    const other = await signIn(authority, { link: await newLink(SECOND) })
    expect((await first.post(PATHS.sessionEnd, { scope: 'mine' })).body.ended).toBeGreaterThanOrEqual(2)
    expect([await statusOf(first), await statusOf(second), await statusOf(other)]).toEqual([401, 401, 200])
    await authority.service.changeOwners(LOCAL, authority.orgId, { remove: [SECOND] })
    expect(await statusOf(other)).toBe(401)
    await authority.service.changeOwners(LOCAL, authority.orgId, { add: [SECOND] })
    expect(await statusOf(other)).toBe(401)
  })
})

test('recovery of a key ends every session of the org and what they stream, with its own row', async () => {
  const { authority } = recovery
  const people = [
    await signIn(authority, { key: authority.keys.operator }),
    await signIn(authority, { link: await newLink() }),
  ]
  using feed = await openEventStream(`${authority.operatorUrl}${PATHS.feed}`, {
    cookie: people[0]?.cookie ?? '',
  })
  const link = await newLink()
  await recovery.confirm(link)
  await feed.closed
  expect(await Promise.all(people.map(statusOf))).toEqual([401, 401])
  const [recovered] = auditOf(authority, 'org.recover').slice(-1)
  const ends = auditOf(authority, 'session.end').slice(-2)
  expect(ends.map(({ after }) => (after as { endedAs: string }).endedAs)).toEqual(['recovery', 'recovery'])
  expect(new Set(ends.map((row) => (row as { request_id?: unknown }).request_id))).toEqual(
    new Set([(recovered as { request_id?: unknown } | undefined)?.request_id]),
  )
})

test('a refused link ends nothing', async () => {
  const { authority } = recovery
  const person = await signIn(authority, { key: authority.keys.operator })
  expect((await recovery.confirm('unknown')).status).toBe(410)
  expect(await statusOf(person)).toBe(200)
})
