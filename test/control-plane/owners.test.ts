import { describe, expect, test } from 'vitest'

import { OwnersResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { auditOf, OWNER, startTestRecovery, type TestRecovery } from '../fixtures/recovery.ts'

const SECOND = 'second@example.org'

const ownersOf = async ({ authority }: TestRecovery) =>
  OwnersResponse.parse((await authority.get(PATHS.orgOwners, authority.keys.admin)).body).owners

const auditRow = ({ authority }: TestRecovery) => auditOf(authority, 'org.owners').at(-1)

const change = ({ authority }: TestRecovery, asked: object) =>
  authority.post(PATHS.orgOwners, asked, authority.keys.admin)

describe('the owners of an org', () => {
  test('begin with the email of its creation, in lower case', async () => {
    await using recovery = await startTestRecovery()
    const { post, get } = recovery.authority
    const created = await post(PATHS.orgCreate, { email: 'First.Owner@Example.ORG' })
    expect((await get(PATHS.orgOwners, created.body.orgApiKey)).body.owners).toEqual([
      'first.owner@example.org',
    ])
    const ownerless = await post(PATHS.orgCreate, {})
    expect((await get(PATHS.orgOwners, ownerless.body.orgApiKey)).body.owners).toEqual([])
  })

  test('are added and removed in one change, whatever their case, with before and after in the audit', async () => {
    await using recovery = await startTestRecovery()
    const { authority } = recovery
    const answer = await change(recovery, {
      add: ['Second@Example.org', SECOND],
      remove: ['OWNER@example.org'],
    })
    expect(answer).toMatchObject({ status: 200, body: { status: 'ok', owners: [SECOND] } })
    expect(await ownersOf(recovery)).toEqual([SECOND])
    const row = auditRow(recovery) as Record<string, unknown>
    expect(row).toMatchObject({
      actor: expect.stringMatching(/^[a-z2-7]{16}$/),
      actor_kind: 'admin',
      origin: '127.0.0.1',
      before: { owners: [OWNER] },
      after: { owners: [SECOND] },
    })
    expect(authority.keys.admin).toContain(`_${String(row['actor'])}_`)
  })

  test('old and new are all told by mail, by whom and how to undo it', async () => {
    await using recovery = await startTestRecovery()
    await change(recovery, { add: [SECOND], remove: [OWNER] })
    await recovery.authority.controlPlane.recovery.flush()
    const { actor } = auditRow(recovery) as unknown as { actor: string }
    expect(recovery.smtp.mails).toHaveLength(2)
    for (const email of [OWNER, SECOND]) {
      const [mail] = recovery.mailsTo(email)
      expect(mail?.text).toContain(`Before:\n  ${OWNER}\n\nNow:\n  ${SECOND}\n`)
      expect(mail?.text).toContain('from 127.0.0.1')
      expect(mail?.text).toContain(`/api/v1/org/keys/${actor}/burn`)
    }
  })

  test('a change that changes nothing is not told and leaves no audit row', async () => {
    await using recovery = await startTestRecovery()
    const before = auditRow(recovery)
    expect(await change(recovery, { add: [OWNER], remove: ['nobody@example.org'] })).toMatchObject({
      status: 200,
      body: { owners: [OWNER] },
    })
    await recovery.authority.controlPlane.recovery.flush()
    expect(auditRow(recovery)).toEqual(before)
    expect(recovery.smtp.mails).toEqual([])
  })

  test('the last one stays: without an owner nobody could recover', async () => {
    await using recovery = await startTestRecovery()
    const refused = await change(recovery, { remove: [OWNER] })
    expect(refused).toMatchObject({ status: 409, body: { code: 'LAST_OWNER' } })
    expect(await ownersOf(recovery)).toEqual([OWNER])
  })

  test('two removals at once cannot take the last two', async () => {
    await using recovery = await startTestRecovery()
    await change(recovery, { add: [SECOND] })
    const answers = await Promise.all([OWNER, SECOND].map((email) => change(recovery, { remove: [email] })))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409])
    expect(await ownersOf(recovery)).toHaveLength(1)
  })

  test('are twenty at most', async () => {
    await using recovery = await startTestRecovery()
    const add = Array.from({ length: 20 }, (_, at) => `o${at}@example.org`)
    const tooMany = await change(recovery, { add })
    expect(tooMany).toMatchObject({ status: 409, body: { code: 'TOO_MANY_OWNERS' } })
    expect(await ownersOf(recovery)).toEqual([OWNER])
    expect((await change(recovery, { add, remove: [OWNER] })).body.owners).toHaveLength(20)
  })

  test('raise no epoch', async () => {
    await using recovery = await startTestRecovery()
    const { authority } = recovery
    const epoch = async () =>
      (await authority.get(PATHS.usage, authority.keys.viewer)).body.orgEpoch as number
    const before = await epoch()
    await change(recovery, { add: [SECOND] })
    expect(await epoch()).toBe(before)
  })

  test('are for admin and full keys only, and of their own org only', async () => {
    await using recovery = await startTestRecovery()
    const { authority } = recovery
    for (const kind of ['runtime', 'viewer', 'stop', 'operator'] as const) {
      expect((await authority.get(PATHS.orgOwners, authority.keys[kind])).status).toBe(403)
      expect((await authority.post(PATHS.orgOwners, { add: [SECOND] }, authority.keys[kind])).status).toBe(
        403,
      )
    }
    const other = await authority.service.createOrg({ kinds: ['admin'], ownerEmail: SECOND })
    const removed = await authority.post(PATHS.orgOwners, { remove: [OWNER] }, other.keys.admin)
    expect(removed.body.owners).toEqual([SECOND])
    expect(await ownersOf(recovery)).toEqual([OWNER])
  })

  test('what is no list of addresses is refused, and changes nothing', async () => {
    await using recovery = await startTestRecovery()
    const bad = [{}, { add: [] }, { add: 'a@b.org' }, { add: ['a'] }, { add: ['a@b.org\r\nBcc: c@d.org'] }]
    for (const asked of [...bad, { add: ['a@b.org,c@d.org'] }, { add: [{}] }, { remove: [null] }]) {
      expect(await change(recovery, asked)).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } })
    }
    expect(await ownersOf(recovery)).toEqual([OWNER])
  })
})
