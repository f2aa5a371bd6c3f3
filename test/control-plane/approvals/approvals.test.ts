import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import { keyIdOf } from '../../../src/control-plane/keys.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import {
  ApprovalResponse,
  ApprovalsAskResponse,
  ApprovalsResponse,
  ApprovalsWithdrawResponse,
  MAX_ARGUMENTS_BYTES,
  type AskedApproval,
} from '../../../src/machineid/wire-approvals.ts'
import { askedApproval, PAYMENTS, SERVER } from '../../fixtures/approvals.ts'
import { startTestControlPlane, type TestControlPlane } from '../../fixtures/control-plane.ts'
import { TESTER } from '../key-matrix.ts'
import { signIn } from '../sessions/browser.ts'

// An approval is no permit: nothing here lets a device do anything (DESIGN.md, section 6).

const START_MS = Date.parse('2026-11-22T08:00:00Z')
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
let nowMs = START_MS
const clock = { now: () => ({ monotonicMs: nowMs, wallMs: nowMs }) }

let authority: TestControlPlane
let keys: TestControlPlane['keys']
beforeAll(async () => {
  authority = await startTestControlPlane({ clock })
  ;({ keys } = authority)
  // It counts by the clock that the tests set.
  await authority.controlPlane.housekeeping.close()
  await authority.register(SERVER)
  await authority.register(PAYMENTS)
})
afterAll(() => authority.close())

let made = 0
const newId = () => `apr_${++made}`
const inMinutes = (minutes: number) => new Date(nowMs + minutes * MINUTE_MS).toISOString()
const approval = (changes: Partial<AskedApproval> & { readonly args?: unknown } = {}) =>
  askedApproval(newId(), { expiresAt: inMinutes(10), ...changes })
const ask = (approvals: readonly AskedApproval[], key = keys.runtime) =>
  authority.post(PATHS.approvals, { approvals }, key)
const asked = async (changes: Parameters<typeof approval>[0] = {}) => {
  const one = approval(changes)
  const { status, body } = await ask([one])
  expect({ status, body }).toMatchObject({ status: 200, body: { added: 1 } })
  return one
}
const withdraw = async (approvalIds: readonly string[], key = keys.runtime) =>
  ApprovalsWithdrawResponse.parse((await authority.post(PATHS.approvalsWithdraw, { approvalIds }, key)).body)
    .withdrawn
const decide = (id: string, body: object, key = keys.operator) =>
  authority.post(PATHS.approvalDecide.replace(':id', id), body, key)
const show = async (id: string, key = keys.viewer) =>
  ApprovalResponse.parse((await authority.get(PATHS.approval.replace(':id', id), key)).body).approval
const list = async (query = '', key = keys.viewer) =>
  ApprovalsResponse.parse((await authority.get(`${PATHS.approvals}?${query}`, key)).body)
const idsOf = ({ approvals }: { readonly approvals: readonly { readonly approvalId: string }[] }) =>
  approvals.map(({ approvalId }) => approvalId)
const auditRows = async () => {
  const { body } = await authority.get(`${PATHS.audit}?limit=1000`, keys.viewer)
  return (body.rows as { action: string; after: { approvalId?: string } }[]).filter(({ action }) =>
    action.startsWith('approval.'),
  )
}
const orgEpoch = async () => Number((await authority.get(PATHS.usage, keys.viewer)).body.orgEpoch)
const switched = async (to: 'off' | 'on') => {
  if (to === 'off') return authority.post(PATHS.orgDisable, {}, keys.stop)
  const { org } = (await authority.get(PATHS.usage, keys.viewer)).body
  return authority.post(PATHS.orgEnable, { ifEpoch: org.epoch }, keys.admin)
}

beforeEach(async () => {
  nowMs = Math.max(nowMs, START_MS) + MINUTE_MS
})

describe('a call that waits', () => {
  test('is shown as it was brought, hostile texts too, with what its devices are told now', async () => {
    const hostile = {
      to: '<img src=x onerror=alert(1)>',
      note: '\u202e=cmd|\u0000"🙂',
      __proto__x: [1.5, null],
    }
    const one = await asked({
      args: hostile,
      tool: '<b>\u202etool',
      agent: '=HYPERLINK("x")',
      callId: "'; --",
    })
    const shown = await show(one.approvalId)
    expect(shown).toMatchObject({ ...one, state: 'waiting', decidedAt: null, decidedBy: null, message: null })
    expect(JSON.parse(shown.argumentsJson)).toEqual(hostile)
    const told = [SERVER, PAYMENTS].map((deviceId) => ({ deviceId, code: 'ALLOW' }))
    expect(shown.devices).toEqual(told)
    const unknown = await asked({ deviceIds: [SERVER, 'never:registered'] })
    const epoch = await authority.revoke(PAYMENTS)
    expect((await show(one.approvalId)).devices[1]?.code).toBe('DEVICE_REVOKED')
    expect((await show(unknown.approvalId)).devices[1]?.code).toBe('DEVICE_NOT_REGISTERED')
    expect((await list(`ids=${one.approvalId}`)).orgEpoch).toBe(epoch)
    await authority.restore(PAYMENTS)
  })

  test('is asked for once: the same id changes nothing, and with another call it is a conflict', async () => {
    const one = await asked()
    const again = await ask([{ ...one, agent: 'another', expiresAt: inMinutes(99) }, one])
    expect(ApprovalsAskResponse.parse(again.body).added).toBe(0)
    expect(await show(one.approvalId)).toMatchObject(one)
    const fresh = approval()
    for (const changes of [
      { args: { amountCents: 1 } },
      { tool: 'other' },
      { schemaDigest: '00'.repeat(32) },
    ]) {
      const other = askedApproval(one.approvalId, {
        ...one,
        ...askedApproval('x', changes),
        approvalId: one.approvalId,
      })
      const { status, body } = await ask([fresh, other])
      expect([status, body.code]).toEqual([409, 'APPROVAL_CONFLICT'])
    }
    expect(idsOf(await list(`ids=${fresh.approvalId}`))).toEqual([])
  })

  test.each([
    ['the digest of something else', { digest: 'ab'.repeat(32) }, /approvals\[0\]\.digest/],
    ['white space', { argumentsJson: '{"a": 1}' }, /canonical/],
    ['names that are not sorted', { argumentsJson: '{"b":1,"a":1}' }, /canonical/],
    ['a name twice', { argumentsJson: '{"a":1,"a":1}' }, /canonical/],
    ['a number written another way', { argumentsJson: '{"a":1.0}' }, /canonical/],
    ['no JSON', { argumentsJson: 'rm -rf' }, /canonical/],
    ['JSON that is too deep', { argumentsJson: '['.repeat(200) + ']'.repeat(200) }, /deep/],
    ['too many bytes', { args: 'é'.repeat(MAX_ARGUMENTS_BYTES / 2) }, /at most 131072 bytes/],
    ['a key as its id', { approvalId: 'org_runtime_aaaaaaaaaaaaaaaa' }, /looks like a key/],
    ['a device that is none', { deviceIds: ['not a device'] }, /deviceIds\[0\]/],
  ])('with %s is refused', async (_, changes, message) => {
    const { status, body } = await ask([approval(changes)])
    expect(status).toBe(400)
    expect(body.message).toMatch(message)
  })

  test('shows no key that slipped into its names', async () => {
    const key = 'org_runtime_aaaaaaaaaaaaaaaa_x'
    const one = await asked({ agent: key, caller: key, tool: key, surface: key, runId: key, callId: key })
    expect(JSON.stringify(await show(one.approvalId))).not.toContain('aaaaaaaa')
    expect(idsOf(await list(`runId=${key}`))).toEqual([one.approvalId])
  })

  test('is brought, seen and withdrawn by a runtime key only where it may ask for each device', async () => {
    const issue = async (...bindings: string[]) =>
      (await authority.service.issueKey({ orgId: authority.orgId, kind: 'runtime', bindings })).key
    const both = await issue(SERVER, PAYMENTS)
    const half = await issue(SERVER)
    const one = approval()
    expect((await ask([one], half)).body.code).toBe('KEY_NOT_BOUND_TO_DEVICE')
    expect((await ask([one], both)).body.added).toBe(1)
    expect(idsOf(await list(`ids=${one.approvalId}`, both))).toEqual([one.approvalId])
    expect(idsOf(await list(`ids=${one.approvalId}`, half))).toEqual([])
    const hidden = await authority.get(PATHS.approval.replace(':id', one.approvalId), half)
    expect([hidden.status, hidden.body.code]).toEqual([404, 'APPROVAL_NOT_FOUND'])
    expect(await withdraw([one.approvalId], half)).toBe(0)
    expect(await withdraw([one.approvalId, 'none'], both)).toBe(1)
  })

  test('lists in pages, those that wait first', async () => {
    const runId = newId()
    const ids: string[] = []
    for (const minutes of [30, 20, 10]) {
      ids.unshift((await asked({ runId, expiresAt: inMinutes(minutes) })).approvalId)
    }
    const { digest, approvalId } = await asked({ runId })
    await decide(approvalId, { digest, approve: true })
    const first = await list(`runId=${runId}&limit=3`)
    const next = await list(`runId=${runId}&limit=3&cursor=${first.nextCursor}`)
    expect([...idsOf(first), ...idsOf(next)]).toEqual([...ids, approvalId])
    expect(next.nextCursor).toBeNull()
    expect(idsOf(await list(`runId=${runId}&state=approved`))).toEqual([approvalId])
    const bad = await authority.get(`${PATHS.approvals}?cursor=x`, keys.viewer)
    expect(bad.body.code).toBe('BAD_REQUEST')
  })
})

describe('a decision', () => {
  test('is made once, tells who made it, and has its row in the audit, which names no argument', async () => {
    const one = await asked()
    const before = await orgEpoch()
    const { status, body } = await decide(one.approvalId, {
      digest: one.digest,
      approve: true,
      ifEpoch: before,
    })
    const decidedBy = `operator:${keyIdOf(keys.operator)}`
    const decidedAt = new Date(nowMs).toISOString()
    expect(status).toBe(200)
    expect(ApprovalResponse.parse(body).approval).toMatchObject({ state: 'approved', decidedBy, decidedAt })
    const again = await decide(one.approvalId, { digest: one.digest, approve: false }, keys.admin)
    expect([again.status, again.body]).toMatchObject([
      409,
      { code: 'APPROVAL_NOT_WAITING', state: 'approved', decidedBy, decidedAt },
    ])
    expect(again.body.message).toContain(decidedBy)
    expect(await withdraw([one.approvalId])).toBe(0)
    expect((await ask([one])).body.added).toBe(0)
    expect((await show(one.approvalId)).state).toBe('approved')
    expect(await orgEpoch()).toBe(before)
    const { approvalId, runId, callId, tool, surface, digest } = one
    const rows = (await auditRows()).filter(({ after }) => after.approvalId === approvalId)
    expect(rows).toMatchObject([{ action: 'approval.approve' }])
    expect(rows[0]?.after).toEqual({ state: 'approved', approvalId, runId, callId, tool, surface, digest })
    expect(JSON.stringify(await auditRows())).not.toContain('INV-1001')
  })

  test('that declines tells the model why, and not with a key in it', async () => {
    const { approvalId, digest } = await asked()
    const message = 'Not <b>today</b>: org_admin_aaaaaaaaaaaaaaaa_x'
    expect((await decide(approvalId, { digest, approve: true, message })).body.code).toBe('BAD_REQUEST')
    expect((await decide(approvalId, { digest, approve: false, message })).status).toBe(200)
    const told = 'Not <b>today</b>: org_[redacted]'
    expect(await show(approvalId)).toMatchObject({ state: 'declined', message: told })
    expect((await auditRows()).at(-1)).toMatchObject({ action: 'approval.decline', reason: told })
  })

  test('is refused for another digest, and for no approval', async () => {
    const { approvalId } = await asked()
    const digest = askedApproval('x', { args: 'other' }).digest
    for (const approve of [true, false]) {
      const { status, body } = await decide(approvalId, { digest, approve })
      expect([status, body.code]).toEqual([409, 'APPROVAL_DIGEST_MISMATCH'])
    }
    expect((await show(approvalId)).state).toBe('waiting')
    expect((await decide('none', { digest, approve: true })).body.code).toBe('APPROVAL_NOT_FOUND')
    const other = await authority.service.createOrg({ kinds: ['operator'] })
    const foreign = await decide(approvalId, { digest, approve: true }, other.keys.operator)
    expect(foreign.body.code).toBe('APPROVAL_NOT_FOUND')
  })

  test('G6: to approve is refused when something was stopped or restored since it was shown; to decline is not', async () => {
    const one = await asked()
    const two = await asked()
    const ifEpoch = await orgEpoch()
    await authority.revoke(PAYMENTS)
    const { status, body } = await decide(one.approvalId, { digest: one.digest, approve: true, ifEpoch })
    expect([status, body.code, body.epoch]).toEqual([409, 'EPOCH_STALE', ifEpoch + 1])
    expect((await show(one.approvalId)).state).toBe('waiting')
    expect((await decide(two.approvalId, { digest: two.digest, approve: false, ifEpoch })).status).toBe(200)
    const seen = await decide(one.approvalId, { digest: one.digest, approve: true, ifEpoch: ifEpoch + 1 })
    expect(seen.body.approval).toMatchObject({ state: 'approved', devices: [{}, { code: 'DEVICE_REVOKED' }] })
    await authority.restore(PAYMENTS)
  })

  test('is refused while the org is disabled: approvals are frozen, and go on waiting', async () => {
    const { approvalId, digest } = await asked()
    await switched('off')
    for (const approve of [true, false]) {
      const { status, body } = await decide(approvalId, { digest, approve }, keys.full)
      expect([status, body.code]).toEqual([409, 'ORG_DISABLED'])
      expect(body.message).toContain('frozen')
    }
    expect(await show(approvalId)).toMatchObject({
      state: 'waiting',
      devices: [{ code: 'ORG_DISABLED' }, { code: 'ORG_DISABLED' }],
    })
    await switched('on')
    expect((await decide(approvalId, { digest, approve: true }, keys.full)).status).toBe(200)
  })

  test('of two at once one counts; the other is told how it was decided', async () => {
    const decisions = await Promise.all(Array.from({ length: 5 }, () => asked()))
    for (const { approvalId, digest } of decisions) {
      const both = await Promise.all([
        decide(approvalId, { digest, approve: true }, keys.operator),
        decide(approvalId, { digest, approve: false }, keys.admin),
      ])
      const won = both.filter(({ status }) => status === 200)
      const [lost] = both.filter(({ status }) => status === 409)
      expect(won).toHaveLength(1)
      const { state, decidedBy } = ApprovalResponse.parse(won[0]?.body).approval
      expect(lost?.body).toMatchObject({ code: 'APPROVAL_NOT_WAITING', state, decidedBy })
    }
  })

  test('and a withdrawal at once: one of them counts', async () => {
    for (const { approvalId, digest } of await Promise.all(Array.from({ length: 5 }, () => asked()))) {
      const [decided, withdrawn] = await Promise.all([
        decide(approvalId, { digest, approve: true }),
        withdraw([approvalId]),
      ])
      const state = decided.status === 200 ? 'approved' : 'withdrawn'
      expect(withdrawn).toBe(decided.status === 200 ? 0 : 1)
      expect((await show(approvalId)).state).toBe(state)
      if (decided.status !== 200) expect(decided.body).toMatchObject({ state, decidedBy: null })
    }
  })

  test('by an owner who is signed in names the owner, and the audit the key; ended sessions decide nothing', async () => {
    const { service, orgId } = authority
    const email = 'owner@example.com'
    await authority.post(PATHS.orgOwners, { add: [email] }, keys.admin)
    const link = await service.createRecoveryLink(TESTER, orgId, email)
    const owner = await signIn(authority, { link: link?.token ?? '' })
    const path = ({ approvalId }: AskedApproval) => PATHS.approvalDecide.replace(':id', approvalId)
    const [one, two] = [await asked(), await asked()]
    const { body } = await owner.post(path(one), { digest: one.digest, approve: true })
    expect(body.approval).toMatchObject({ state: 'approved', decidedBy: email })
    expect((await auditRows()).at(-1)).toMatchObject({ actor: owner.session.keyId, actorKind: 'admin' })
    await owner.post(PATHS.sessionEnd)
    expect((await owner.post(path(two), { digest: two.digest, approve: true })).status).toBe(401)
    expect((await show(two.approvalId)).state).toBe('waiting')
  })

  test('is nothing that a burned key can still make', async () => {
    const { approvalId, digest } = await asked()
    const { key, keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'operator' })
    await authority.post(PATHS.keyBurn.replace(':id', keyId), {}, keys.admin)
    expect((await decide(approvalId, { digest, approve: true }, key)).body.code).toBe('KEY_BURNED')
    expect((await show(approvalId)).state).toBe('waiting')
  })
})

describe('an approval that expires', () => {
  test('does so by the clock, for good, and cannot be decided or withdrawn', async () => {
    const { approvalId, digest, ...one } = await asked({ expiresAt: inMinutes(1) })
    const raced = await asked({ expiresAt: inMinutes(1) })
    nowMs += MINUTE_MS - 1
    expect((await show(approvalId)).state).toBe('waiting')
    nowMs += 1
    // Before anybody has looked.
    const late = await decide(raced.approvalId, { digest: raced.digest, approve: true })
    expect([late.status, late.body]).toMatchObject([
      409,
      { code: 'APPROVAL_NOT_WAITING', state: 'expired', decidedBy: null },
    ])
    expect(await withdraw([approvalId])).toBe(0)
    const { waiting } = await list('state=waiting')
    expect((await list(`ids=${approvalId},${raced.approvalId}&state=expired`)).approvals).toHaveLength(2)
    nowMs -= 10 * MINUTE_MS
    expect((await show(approvalId)).state).toBe('expired')
    expect((await show(raced.approvalId)).state).toBe('expired')
    expect((await ask([{ ...one, approvalId, digest, expiresAt: inMinutes(99) }])).body.added).toBe(0)
    expect((await decide(approvalId, { digest, approve: true })).body.state).toBe('expired')
    expect((await list('state=waiting')).waiting).toBe(waiting)
    nowMs += 10 * MINUTE_MS
  })

  test('and was brought too late never waits', async () => {
    const { approvalId } = await asked({ expiresAt: inMinutes(-1) })
    expect((await show(approvalId)).state).toBe('expired')
  })

  test('does so after 30 days at the latest, whatever its key says', async () => {
    const { approvalId } = await asked({ expiresAt: '9999-12-31T23:59:59.000Z' })
    expect(Date.parse((await show(approvalId)).expiresAt)).toBe(nowMs + 30 * DAY_MS)
    await withdraw([approvalId])
  })

  test('is deleted 7 days after it ended, as are those that were decided; what waits stays', async () => {
    const stays = await asked({ expiresAt: inMinutes(60 * 24 * 30) })
    const { approvalId, digest } = await asked()
    await decide(approvalId, { digest, approve: true })
    const { housekeeping } = authority.controlPlane
    nowMs += 7 * DAY_MS
    await housekeeping.tick()
    expect((await show(approvalId)).state).toBe('approved')
    nowMs += 1
    await housekeeping.tick()
    expect(idsOf(await list(`ids=${approvalId},${stays.approvalId}`))).toEqual([stays.approvalId])
    await withdraw([stays.approvalId])
  })
})

test('what is on the desk survives a kill', async () => {
  const one = await asked({ expiresAt: inMinutes(60) })
  const { approvalId, digest } = await asked()
  await decide(approvalId, { digest, approve: false, message: 'No.' })
  await authority.kill()
  await authority.restart()
  await authority.controlPlane.housekeeping.close()
  expect(await show(one.approvalId)).toMatchObject({ ...one, state: 'waiting' })
  expect(await show(approvalId)).toMatchObject({ state: 'declined', message: 'No.' })
})

test('of one key so many wait and no more, which closes the desk to no other', async () => {
  const { orgId, keys: theirs } = await authority.service.createOrg({ kinds: ['runtime', 'full', 'viewer'] })
  const { runtime = '', full = '', viewer = '' } = theirs
  const some = (count: number) => Array.from({ length: count }, () => approval())
  for (let times = 0; times < 10; times++) expect((await ask(some(50), runtime)).status).toBe(200)
  const last = approval()
  const refused = await ask([last], runtime)
  expect([refused.status, refused.body.code]).toEqual([429, 'TOO_MANY_APPROVALS'])
  expect((await ask(some(1), full)).status).toBe(200)
  const [first] = (await list('state=waiting&limit=1', viewer)).approvals
  expect(await withdraw([first?.approvalId ?? ''], runtime)).toBe(1)
  expect((await ask([last], runtime)).body).toMatchObject({ orgId, added: 1 })
  expect((await ask([last], runtime)).body.added).toBe(0)
})

test('a page holds about a mebibyte of arguments, whatever its limit', async () => {
  const { keys: theirs } = await authority.service.createOrg({ kinds: ['full'] })
  const { full = '' } = theirs
  for (let times = 0; times < 20; times++) await ask([approval({ args: 'x'.repeat(100_000) })], full)
  const first = await list('limit=1000', full)
  const next = await list(`limit=1000&cursor=${first.nextCursor}`, full)
  expect([first.approvals.length, next.approvals.length]).toEqual([10, 10])
  expect(next.nextCursor).toBeNull()
})
