import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'

import { systemClock, type Clock } from '../../src/clock.ts'
import { uuidv7 } from '../../src/control-plane/ids.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { DecisionsResponse } from '../../src/machineid/wire-evidence.ts'
import * as rows from '../../src/store/control-plane-rows.ts'
import * as sql from '../../src/store/sqlite/statements.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'
import { openEventStream } from '../fixtures/event-stream.ts'

const DEVICE = 'openai-agent:test:payments:01'
const EMAIL = 'openai-agent:test:email:01'
const RESTORE = 'with a key of kind operator, admin or full'
const PLATFORM = { authorization: 'Bearer platform' }

/** A clock on which no two things happen in the same millisecond. */
function steppingClock(): Clock {
  let ms = Date.UTC(2026, 0, 1)
  return { now: () => ({ monotonicMs: ++ms, wallMs: ms }) }
}

/** Asks as a guard does; answers the request_id. */
async function validate(authority: TestControlPlane, deviceIds: readonly string[], boundary = 'tool') {
  const context = { boundary, tool: 'send_payment', callId: 'call_1', runId: 'run_1', replica: 'pod-7' }
  const body = { deviceIds, nonce: 'n'.repeat(22), context }
  const answer = await authority.post(PATHS.validateBatch, body, authority.keys.runtime)
  expect(answer.status).toBe(200)
  return answer.body.request_id as string
}

async function decisions(authority: TestControlPlane, query = '', key = authority.keys.viewer) {
  const { status, body } = await authority.get(`${PATHS.decisions}${query}`, key)
  return { ...(status === 200 ? DecisionsResponse.parse(body) : body), httpStatus: status }
}

/** Decisions are stored a moment after the answer. */
async function stored(authority: TestControlPlane, count: number) {
  await expect.poll(async () => (await decisions(authority, '?limit=1000')).decisions.length).toBe(count)
}

async function explained(authority: TestControlPlane, requestId: string) {
  await expect
    .poll(async () => (await decisions(authority, `?request_id=${requestId}`)).decisions.length)
    .toBeGreaterThan(0)
  return (await decisions(authority, `?request_id=${requestId}`)).decisions
}

const keyIdOf = (key: string) => key.split('_')[2]

test('a denied device: why, who stopped it, what holds now, and the very call that undoes it', async () => {
  await using authority = await startTestControlPlane()
  const { keys, post } = authority
  await authority.register(DEVICE)
  await authority.register(EMAIL)
  const revoked = await post(PATHS.revoke, { deviceId: DEVICE, reason: 'leaked key' }, keys.stop)
  const requestId = await validate(authority, [EMAIL, DEVICE])

  const [decision, ...others] = await explained(authority, requestId)
  // Allows are recorded only when asked for.
  expect(others).toEqual([])
  expect(decision).toMatchObject({
    request_id: requestId,
    deviceId: DEVICE,
    allowed: false,
    code: 'DEVICE_REVOKED',
    asked: 'validate',
    boundary: 'tool',
    tool: 'send_payment',
    callId: 'call_1',
    runId: 'run_1',
    replica: 'pod-7',
    keyId: keyIdOf(keys.runtime),
  })
  const { why, stop, now, next } = decision.explanation
  const by = `stop:${keyIdOf(keys.stop)}`
  expect(stop).toMatchObject({ action: 'device.revoke', by, reason: 'leaked key', epoch: revoked.body.epoch })
  expect(why).toBe(`${DEVICE} was revoked by ${by} at ${stop.at}: "leaked key".`)
  expect(now).toBe('DEVICE_REVOKED')

  // What it says to do is done, word for word.
  const [, path, body] = /^POST (\S+) (\{.*\}) with a key of kind operator/.exec(next[0]) ?? []
  expect((await post(path ?? '', body, keys.operator)).status).toBe(200)
  const [after] = await explained(authority, requestId)
  expect(after.explanation).toMatchObject({
    why,
    stop,
    now: 'ALLOW',
    next: ['Nothing is to be done: a validate would be allowed now.'],
  })
})

test('a stop that was followed by others is told as it was then', async () => {
  await using authority = await startTestControlPlane({ clock: steppingClock() })
  const { keys, post } = authority
  await authority.register(DEVICE)
  const revoke = async (reason: string) => post(PATHS.revoke, { deviceId: DEVICE, reason }, keys.stop)
  await revoke('first')
  const first = await validate(authority, [DEVICE])
  await revoke('second')
  const second = await validate(authority, [DEVICE])
  await authority.restore(DEVICE)
  await revoke('third')
  expect((await explained(authority, first))[0].explanation).toMatchObject({
    stop: { reason: 'first', epoch: 1 },
    next: [`POST /api/v1/devices/unrevoke {"deviceId":"${DEVICE}","ifEpoch":4} ${RESTORE}`],
  })
  expect((await explained(authority, second))[0].explanation.stop).toMatchObject({
    reason: 'second',
    epoch: 2,
  })
})

test('locks: the one that held the device then, though it was released since and another holds it now', async () => {
  await using authority = await startTestControlPlane({ clock: steppingClock() })
  const { keys, post } = authority
  await authority.register(DEVICE)
  const lock = async (pattern: string, reason: string) =>
    (await post(PATHS.locks, { pattern, reason }, keys.stop)).body as { lockId: string; epoch: number }
  const release = async ({ lockId, epoch }: { lockId: string; epoch: number }) =>
    (await post(PATHS.lockRelease.replace(':id', lockId), { ifEpoch: epoch }, keys.operator)).status

  const held = await lock('openai-agent:test:*', 'at that time')
  const gone = await lock('openai-agent:test:payments:*', 'before')
  expect(await release(gone)).toBe(200)
  await lock('openai-agent:test:email:*', 'something else')
  const requestId = await validate(authority, [DEVICE])
  expect(await release(held)).toBe(200)
  const now = await lock('*:*:payments:01', 'by now')

  const [{ code, explanation }] = await explained(authority, requestId)
  expect(code).toBe('DEVICE_LOCKED')
  expect(explanation).toMatchObject({
    why: expect.stringMatching(
      /was stopped by the lock on openai-agent:test:\*, set by stop:\w+ at .*: "at that time"\.$/,
    ),
    stop: { action: 'lock.add', epoch: held.epoch },
    now: 'DEVICE_LOCKED',
    next: [`POST /api/v1/locks/${now.lockId}/release {"ifEpoch":${now.epoch}} ${RESTORE}`],
  })
})

test('locks: the one that held the device is found among changes of the same millisecond', async () => {
  const timeline = { ms: Date.UTC(2026, 0, 1) }
  await using authority = await startTestControlPlane({
    clock: { now: () => ({ monotonicMs: timeline.ms, wallMs: timeline.ms }) },
  })
  const { keys, post } = authority
  const lock = async (pattern: string, reason: string) =>
    (await post(PATHS.locks, { pattern, reason }, keys.stop)).body as { lockId: string; epoch: number }
  await authority.register(DEVICE)
  await authority.register(EMAIL)
  await lock('openai-agent:test:email:*', 'a millisecond before')
  timeline.ms++
  const held = await lock('openai-agent:test:*', 'at that time')
  // More than is read of the chain at once.
  for (let n = 0; n < 40; n++) await authority.revoke(EMAIL)
  const gone = await lock('*:*:payments:*', 'before')
  const released = await post(
    PATHS.lockRelease.replace(':id', gone.lockId),
    { ifEpoch: gone.epoch },
    keys.operator,
  )
  expect(released.status).toBe(200)
  await lock('openai-agent:test:email:*', 'something else')
  timeline.ms++
  const requestId = await validate(authority, [DEVICE])

  const [{ code, explanation }] = await explained(authority, requestId)
  expect(code).toBe('DEVICE_LOCKED')
  expect(explanation).toMatchObject({
    stop: { action: 'lock.add', epoch: held.epoch, reason: 'at that time' },
  })
})

test('each other code: the org switch, the plan, the cap, devices that are not there', async () => {
  await using authority = await startTestControlPlane({ platformToken: 'platform', plan: { limit: 2 } })
  const { keys, post, orgId } = authority
  const plan = (body: object) => post(PATHS.orgPlan, { orgId, ...body }, undefined, PLATFORM)
  const why = async (requestId: string) => (await explained(authority, requestId))[0]

  const unknown = await why(await validate(authority, [DEVICE]))
  expect(unknown).toMatchObject({ code: 'DEVICE_NOT_REGISTERED', explanation: { stop: null } })

  await authority.register(EMAIL)
  await authority.register(DEVICE)
  const refused = await post(PATHS.register, { deviceId: 'a:b:c:3' }, keys.runtime)
  const full = await why(refused.body.request_id)
  expect(full).toMatchObject({
    code: 'DEVICE_LIMIT_REACHED',
    asked: 'register',
    keyId: keyIdOf(keys.runtime),
  })
  expect(full.explanation).toMatchObject({ stop: null, now: 'DEVICE_NOT_REGISTERED' })
  expect(full.explanation.next[0]).toContain('Every slot is taken (2 of 2).')

  await plan({ tier: 'custom', limit: 1 })
  const over = await why(await validate(authority, [DEVICE]))
  expect(over).toMatchObject({
    code: 'DEVICE_OVER_LIMIT',
    explanation: { stop: { action: 'org.plan', by: 'platform' }, now: 'DEVICE_OVER_LIMIT' },
  })
  expect(over.explanation.next[0]).toContain('"tier":"free"} with the platform token')

  await plan({ tier: 'pro', state: 'frozen' })
  const frozen = await why(await validate(authority, [DEVICE]))
  expect(frozen).toMatchObject({
    code: 'PLAN_NOT_ACTIVE',
    explanation: {
      why: expect.stringContaining('set to frozen by platform at '),
      next: [`POST /api/v1/org/plan {"orgId":"${orgId}","tier":"pro"} with the platform token`],
    },
  })

  await plan({ tier: 'pro' })
  const removed = await post(PATHS.remove, { deviceId: DEVICE, reason: 'retired' }, keys.operator)
  expect(await why(await validate(authority, [DEVICE]))).toMatchObject({
    code: 'DEVICE_REMOVED',
    explanation: {
      stop: { action: 'device.remove', reason: 'retired' },
      next: [
        `POST /api/v1/devices/register {"deviceId":"${DEVICE}","restoreRemoved":true,"ifEpoch":${removed.body.epoch}} ${RESTORE}`,
      ],
    },
  })

  const disabled = await post(PATHS.orgDisable, { reason: 'incident 7' }, keys.stop)
  expect(await why(await validate(authority, [EMAIL]))).toMatchObject({
    code: 'ORG_DISABLED',
    explanation: {
      stop: { action: 'org.disable', reason: 'incident 7', epoch: disabled.body.epoch },
      next: [`POST /api/v1/org/enable {"ifEpoch":${disabled.body.epoch}} with a key of kind admin or full`],
    },
  })
})

test('a key that was burned since is a reason of its own', async () => {
  await using authority = await startTestControlPlane()
  const { keys, post } = authority
  const requestId = await validate(authority, [DEVICE])
  await authority.register(DEVICE)
  await post(PATHS.keyBurn.replace(':id', keyIdOf(keys.runtime) ?? ''), {}, keys.admin)
  const [{ explanation }] = await explained(authority, requestId)
  expect(explanation.now).toBe('ALLOW')
  expect(explanation.next).toEqual([
    expect.stringMatching(
      /^The key that asked, \w+, is no longer good \(KEY_BURNED\)\. Issue another: POST /,
    ),
  ])
})

test('an id that the guard made itself is not looked for here', async () => {
  await using authority = await startTestControlPlane()
  const answer = await decisions(authority, `?request_id=local_${crypto.randomUUID()}`)
  expect(answer).toMatchObject({ httpStatus: 404, code: 'NOT_FOUND' })
  expect(answer.message).toBe(
    'A request_id that begins with local_ was made by the guard itself, because it got no usable answer: this control ' +
      'plane has not seen it. Look for it in the log of the process that was denied; the code beside it says why.',
  )
})

test('where nothing is found, what that may mean is said', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(DEVICE)
  const allowed = await validate(authority, [DEVICE])
  for (const query of [`?request_id=${allowed}`, '?request_id=unknown', '']) {
    const answer = await decisions(authority, query)
    expect(answer).toMatchObject({ httpStatus: 200, decisions: [], nextCursor: null })
    expect(answer.note).toContain('Allows are kept only while the control plane runs with DECISION_LOG=all')
  }
})

test('with allows recorded they are told too', async () => {
  await using authority = await startTestControlPlane({ recordAllows: true })
  await authority.register(DEVICE)
  const requestId = await validate(authority, [DEVICE, EMAIL])
  const [allowed, denied] = await explained(authority, requestId)
  expect(allowed).toMatchObject({
    deviceId: DEVICE,
    allowed: true,
    code: 'ALLOW',
    explanation: { why: `${DEVICE} was allowed.`, stop: null, now: 'ALLOW' },
  })
  expect(denied).toMatchObject({ deviceId: EMAIL, allowed: false, code: 'DEVICE_NOT_REGISTERED' })
  const only = async (query: string) =>
    (await decisions(authority, query)).decisions.map(({ deviceId }: { deviceId: string }) => deviceId)
  expect(await only('?allowed=true')).toEqual([DEVICE])
  expect(await only('?allowed=false')).toEqual([EMAIL])
})

test('newest first, with filters that must all fit', async () => {
  await using authority = await startTestControlPlane({ clock: steppingClock() })
  await authority.register(EMAIL)
  await authority.revoke(EMAIL)
  const first = await validate(authority, [DEVICE, EMAIL], 'tool')
  const second = await validate(authority, [DEVICE], 'side_effect')
  await stored(authority, 3)
  const found = async (query: string) =>
    (await decisions(authority, query)).decisions.map(
      ({ request_id, deviceId }: { request_id: string; deviceId: string }) => [request_id, deviceId],
    )
  const all = [
    [second, DEVICE],
    [first, DEVICE],
    [first, EMAIL],
  ]
  expect(await found('')).toEqual(all)
  expect(await found('?device=openai-agent:test:*')).toEqual(all)
  expect(await found(`?device=${EMAIL}`)).toEqual([[first, EMAIL]])
  expect(await found('?device=*:*:payments:*')).toEqual(all.slice(0, 2))
  expect(await found('?code=DEVICE_REVOKED')).toEqual([[first, EMAIL]])
  expect(await found('?boundary=side_effect')).toEqual([[second, DEVICE]])
  expect(await found('?boundary=side_effect&code=DEVICE_REVOKED')).toEqual([])
  expect(await found('?allowed=true')).toEqual([])
  const { decisions: rows } = await decisions(authority)
  expect(await found(`?from=${rows[0].at}`)).toEqual(
    all.filter((_, index) => Date.parse(rows[index].at) >= Date.parse(rows[0].at)),
  )
  expect(await found('?to=2020-01-01T00:00:00Z')).toEqual([])
  // Another org sees none of it.
  const other = await authority.service.createOrg({ kinds: ['viewer'] })
  expect((await decisions(authority, '', other.keys.viewer)).decisions).toEqual([])
  expect((await decisions(authority, `?request_id=${first}`, other.keys.viewer)).decisions).toEqual([])
})

test('pages go on where the last one ended, and never split a question', async () => {
  await using authority = await startTestControlPlane({ clock: steppingClock() })
  const ids = Array.from({ length: 16 }, (_, index) => `a:b:c:${index}`)
  const asked = [
    await validate(authority, [DEVICE]),
    await validate(authority, ids),
    await validate(authority, ids),
  ]
  await stored(authority, 33)
  const pages = []
  let cursor: string | null = null
  do {
    const page: { decisions: { request_id: string; deviceId: string }[]; nextCursor: string | null } =
      await decisions(authority, `?limit=5${cursor === null ? '' : `&cursor=${cursor}`}`)
    pages.push(page.decisions)
    cursor = page.nextCursor
  } while (cursor !== null)
  expect(pages.map((page) => [...new Set(page.map(({ request_id }) => request_id))])).toEqual(
    asked.toReversed().map((requestId) => [requestId]),
  )
  expect(pages.map((page) => page.map(({ deviceId }) => deviceId))).toEqual([ids, ids, [DEVICE]])
  // A page that is just full, with nothing behind it.
  expect(await decisions(authority, '?limit=33')).toMatchObject({ nextCursor: null })
})

/** Denials of one device, a millisecond apart, the last of them now. */
function addDecisions({ file, orgId }: TestControlPlane, count: number) {
  const db = new DatabaseSync(file)
  const insert = db.prepare(sql.insert('decisions', rows.decisions.columns))
  const base = {
    orgId,
    ordinal: 0,
    keyId: 'k',
    deviceId: DEVICE,
    code: 'DEVICE_REVOKED',
    asked: 'validate',
  } as const
  const context = { boundary: 'tool', tool: null, callId: null, runId: null, replica: null }
  const startMs = Date.now() - count
  db.exec('BEGIN')
  for (let made = 0; made < count; made++) {
    const atMs = startMs + made
    const code = made === 0 ? 'ORG_DISABLED' : base.code
    insert.run(...rows.decisions.values({ ...base, ...context, code, requestId: uuidv7(atMs), atMs }))
  }
  db.exec('COMMIT')
  db.close()
}

test('what seldom fits is looked for a part at a time, and stops go on meanwhile', async () => {
  await using authority = await startTestControlPlane()
  await authority.register(EMAIL)
  await authority.kill()
  addDecisions(authority, 60_000)
  await authority.restart()
  const searches = Array.from({ length: 4 }, () => decisions(authority, '?code=ORG_DISABLED'))
  let searching = true
  const found = Promise.all(searches).finally(() => (searching = false))
  let stops = 0
  for (; searching; stops++) await authority.revoke(EMAIL)
  expect(stops).toBeGreaterThan(20)
  for (const answer of await found) {
    expect(answer).toMatchObject({ decisions: [], nextCursor: expect.any(String) })
    expect(answer.note).toBeUndefined()
    const rest = await decisions(authority, `?code=ORG_DISABLED&cursor=${answer.nextCursor}`)
    expect(rest).toMatchObject({ decisions: [{ code: 'ORG_DISABLED' }], nextCursor: null })
    const none = await decisions(authority, `?code=ALLOW&cursor=${answer.nextCursor}`)
    expect(none).toMatchObject({ decisions: [], nextCursor: null })
    expect(none.note).toBeUndefined()
  }
  // Whoever comes back to the feed is not searched for at any length either.
  const lastEventId = uuidv7(Date.now() - 120_000)
  using feed = await openEventStream(`${authority.url}${PATHS.feed}?code=ORG_DISABLED`, {
    'x-org-key': authority.keys.viewer,
    'last-event-id': lastEventId,
  })
  expect((await feed.next(1))[0]?.event).toBe('missed')
}, 60_000)

test('a key searches for a bounded number of things at once', async () => {
  await using authority = await startTestControlPlane()
  await authority.kill()
  addDecisions(authority, 20_000)
  await authority.restart()
  const searches = Array.from({ length: 25 }, () => decisions(authority, '?code=ORG_DISABLED'))
  // One decision is explained all the same.
  const unknown = await decisions(authority, '?request_id=unknown')
  expect(unknown).toMatchObject({ httpStatus: 200, decisions: [] })
  const answers = await Promise.all(searches)
  const statuses = answers.map(({ httpStatus }) => httpStatus as number)
  expect(new Set(statuses)).toEqual(new Set([200, 429]))
  expect(statuses.filter((status) => status === 200)).toHaveLength(20)
  expect(await decisions(authority)).toMatchObject({ httpStatus: 200 })
})

test.each([
  ['?cursor=a b', '"cursor" must be the nextCursor of the page before.'],
  ['?limit=0', '"limit" must be a whole number from 1 to 1000.'],
  ['?from=yesterday', '"from" must be a time in ISO 8601, for example 2026-12-31T23:59:59Z.'],
  ['?allowed=maybe', '"allowed" must be true or false.'],
])('%s is refused', async (query, message) => {
  await using authority = await startTestControlPlane()
  expect(await decisions(authority, query)).toMatchObject({ httpStatus: 400, code: 'BAD_REQUEST', message })
})

test('only keys that may see them do', async () => {
  await using authority = await startTestControlPlane()
  for (const kind of ['runtime', 'stop'] as const) {
    expect(await decisions(authority, '', authority.keys[kind])).toMatchObject({ httpStatus: 403 })
  }
  for (const kind of ['viewer', 'operator', 'admin', 'full'] as const) {
    expect(await decisions(authority, '', authority.keys[kind])).toMatchObject({ httpStatus: 200 })
  }
})

test('decisions are kept for so many days; the audit, which says who stopped what, stays', async () => {
  let passedMs = 0
  const clock: Clock = {
    now: () => {
      const { monotonicMs, wallMs } = systemClock.now()
      return { monotonicMs: monotonicMs + passedMs, wallMs: wallMs + passedMs }
    },
  }
  const day = 86_400_000
  await using authority = await startTestControlPlane({ clock, retentionDays: 30 })
  const old = await validate(authority, [DEVICE])
  await stored(authority, 1)
  passedMs = 29 * day
  await authority.controlPlane.housekeeping.tick()
  const fresh = await validate(authority, [DEVICE])
  await stored(authority, 2)
  passedMs = 30 * day + 60_000
  await authority.controlPlane.housekeeping.tick()
  const left = (await decisions(authority)).decisions.map((row: { request_id: string }) => row.request_id)
  expect(left).toEqual([fresh])
  expect(left).not.toContain(old)
  const audit = await authority.get(PATHS.audit, authority.keys.viewer)
  expect(audit.body.rows[0]).toMatchObject({ seq: 1, action: 'org.create' })
})
