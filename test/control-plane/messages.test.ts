import { afterAll, beforeAll, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane, type TestControlPlane } from '../fixtures/control-plane.ts'

// What a person reads who has made a mistake: the field or path, what was expected, the next step.

const DEVICE = 'openai-agent:test:payments:01'
const EXAMPLE = 'A device ID is required, for example openai-agent:prod:payments:01.'

let authority: TestControlPlane
beforeAll(async () => {
  authority = await startTestControlPlane({ platformToken: 'platform' })
  await authority.register(DEVICE)
})
afterAll(() => authority.close())

const platform = { authorization: 'Bearer platform' }
const told = async (path: string, body: unknown, kind: keyof TestControlPlane['keys'] = 'full') => {
  const answer = await authority.post(path, body, authority.keys[kind], platform)
  return `${answer.body.code} ${answer.body.message}`
}

test.each([PATHS.register, PATHS.validate, PATHS.revoke, PATHS.unrevoke, PATHS.remove])(
  '%s: a body without a usable deviceId is told the name of the field and an example',
  async (path) => {
    for (const body of [{}, '', { device_id: 'x' }]) {
      expect(await told(path, body)).toBe(`DEVICE_ID_INVALID "deviceId" is missing. ${EXAMPLE}`)
    }
    expect(await told(path, { deviceId: 5 })).toBe(
      `DEVICE_ID_INVALID "deviceId" must be a string. ${EXAMPLE}`,
    )
    expect(await told(path, { deviceId: '' })).toBe(`DEVICE_ID_INVALID "deviceId" is empty. ${EXAMPLE}`)
    expect(await told(path, { deviceId: 'a/b' })).toMatch(
      /^DEVICE_ID_INVALID "deviceId" is not valid\. A device/,
    )
  },
)

test('the GET form of validate and a batch name the field too', async () => {
  const { body } = await authority.get(PATHS.validate, authority.keys.full)
  expect(body).toMatchObject({
    code: 'DEVICE_ID_INVALID',
    message: `"deviceId" is missing. ${EXAMPLE}`,
  })
  expect(await told(PATHS.validateBatch, { deviceIds: [DEVICE, 5], nonce: 'n'.repeat(22) })).toBe(
    `DEVICE_ID_INVALID "deviceIds[1]" must be a string. ${EXAMPLE}`,
  )
})

const LABELS = '"labels" must be an object of strings: names of 1 to 64 characters, values of at most 256.'
const REASON = '"reason" must be a string of 1 to 500 characters.'
const EPOCH = '"ifEpoch" must be an epoch: a whole number, 0 or above.'
const KINDS = 'runtime, viewer, stop, operator, admin or full'
const ONE_OF = 'Give exactly one of "deviceIds", "pattern" and "label".'
const PATTERN =
  '"pattern" must be a device ID or a pattern of up to 8 segments with * for a whole one, for example openai-agent:prod:payments:*.'
const REMIND = '"remindAfterSeconds" must be a whole number from 60 to 31536000.'
const LIMIT = '"limit" must be a whole number from 0 to 10000000.'

test.each([
  [PATHS.revoke, '[]', 'The body must be a JSON object.'],
  [PATHS.validate, '[]', 'The body must be a JSON object.'],
  [PATHS.register, { deviceId: DEVICE, labels: 'x' }, LABELS],
  [PATHS.register, { deviceId: DEVICE, labels: { a: 5 } }, LABELS],
  [PATHS.register, { deviceId: DEVICE, labels: { ['a'.repeat(65)]: 'x' } }, LABELS],
  [PATHS.register, { deviceId: DEVICE, context: 5 }, '"context" must be an object.'],
  [
    PATHS.register,
    { deviceId: DEVICE, context: { tool: 5 } },
    '"context.tool" must be a string of at most 256 characters.',
  ],
  [PATHS.register, { deviceId: DEVICE, restoreRemoved: 1 }, '"restoreRemoved" must be true, or left out.'],
  [PATHS.revoke, { deviceId: DEVICE, reason: '' }, REASON],
  [PATHS.revoke, { deviceId: DEVICE, reason: 5 }, REASON],
  [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 'x' }, EPOCH],
  [PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 0.5 }, EPOCH],
  [PATHS.orgEnable, { ifEpoch: 2 ** 60 }, EPOCH],
  [PATHS.orgEnable, { ifEpoch: -1 }, EPOCH],
  [PATHS.orgPlan, { tier: 'pro' }, '"orgId" must be a string of 1 to 64 characters.'],
  [PATHS.orgPlan, { orgId: 'x' }, '"tier" must be free, pro, scale, max or custom.'],
  [PATHS.orgPlan, { orgId: 'x', tier: 'custom', limit: 'x' }, LIMIT],
  [
    PATHS.orgPlan,
    { orgId: 'x', tier: 'pro', state: 'x' },
    '"state" must be active, canceled, frozen or unpaid.',
  ],
  [PATHS.orgPlan, { orgId: 'x', tier: 'custom' }, 'Give "limit" with tier "custom", and only then.'],
  [PATHS.orgCreate, { email: 'x' }, '"email" must be an email address, for example ops@example.com.'],
  [PATHS.orgCreate, { kinds: ['x'] }, `"kinds[0]" must be ${KINDS}.`],
  [PATHS.orgCreate, { kinds: 'x' }, `"kinds" must be a list of kinds of keys, each ${KINDS}.`],
  [
    PATHS.orgPlan,
    { orgId: 'x', tier: 'pro', state: 'canceled' },
    'Give "accessUntil" with state "canceled", and only then.',
  ],
  [
    PATHS.orgPlan,
    { orgId: 'x', tier: 'pro', state: 'canceled', accessUntil: 'soon' },
    '"accessUntil" must be a time in ISO 8601, for example 2026-12-31T23:59:59Z.',
  ],
  [PATHS.revoke, { deviceId: DEVICE, remindAfterSeconds: 5 }, REMIND],
  [PATHS.revokeBatch, {}, ONE_OF],
  [PATHS.revokeBatch, { deviceIds: [DEVICE], pattern: 'a:*' }, ONE_OF],
  [PATHS.revokeBatch, { deviceIds: [] }, '"deviceIds" must be a list of 1 to 1000 device IDs.'],
  [PATHS.revokeBatch, { pattern: 'a b' }, PATTERN],
  [PATHS.revokeBatch, { label: 'x' }, '"label" must be an object {name, value} of strings.'],
  [
    PATHS.revokeBatch,
    { label: { name: '', value: 'x' } },
    '"label.name" must be a string of 1 to 64 characters.',
  ],
  [PATHS.unrevokeBatch, { items: [] }, '"items" must be a list of 1 to 1000 objects {deviceId, ifEpoch}.'],
  [PATHS.unrevokeBatch, { items: ['x'] }, '"items[0]" must be an object {deviceId, ifEpoch}.'],
  [
    PATHS.unrevokeBatch,
    { items: [{ deviceId: DEVICE, ifEpoch: 'x' }] },
    '"items[0].ifEpoch" must be an epoch: a whole number, 0 or above.',
  ],
  [PATHS.locks, { pattern: 'a:*' }, REASON],
  [PATHS.locks, { pattern: 'a*:b', reason: 'x' }, PATTERN],
  [PATHS.locks, { pattern: 'a:*', reason: 'x', remindAfterSeconds: 5 }, REMIND],
  [PATHS.keys, { kind: 'x' }, `"kind" must be ${KINDS}.`],
  [
    PATHS.keys,
    { kind: 'runtime' },
    'Give "bindings" with kind "runtime" (["*"] is every device), and only then.',
  ],
  [
    PATHS.keys,
    { kind: 'runtime', bindings: [] },
    '"bindings" must be a list of 1 to 64 device IDs or patterns.',
  ],
  [PATHS.keys, { kind: 'runtime', bindings: ['a b'] }, PATTERN.replace('pattern', 'bindings[0]')],
  [PATHS.orgOwners, {}, 'Give "add", "remove" or both, each a list of email addresses.'],
  [PATHS.orgOwners, { add: ['x'] }, '"add[0]" must be an email address, for example ops@example.com.'],
  [PATHS.orgRecover, { email: 'x' }, '"email" must be an email address, for example ops@example.com.'],
])('%s %j: %s', async (path, body, message) => {
  expect(await told(path, body)).toBe(`BAD_REQUEST ${message}`)
})

test.each(['abc', '', '0', '1.5', '1001'])('a limit of "%s" in the query', async (limit) => {
  const { body } = await authority.get(`${PATHS.list}?limit=${limit}`, authority.keys.viewer)
  expect(body.message).toBe('"limit" must be a whole number from 1 to 1000.')
})

test.each([
  [PATHS.audit, 'after=-1', '"after" must be a whole number from 0 to 9007199254740991.'],
  [PATHS.audit, 'limit=0', '"limit" must be a whole number from 1 to 1000.'],
  [PATHS.audit, 'format=xml', '"format" must be json, jsonl or csv.'],
  [PATHS.auditVerify, 'seq=1', 'Give "seq" and "hash" of a noted row together, or neither.'],
  [
    PATHS.auditVerify,
    'seq=1&hash=9f86d081884c7d65',
    '"hash" must be the hash of that row: 64 characters of 0-9 a-f.',
  ],
  [PATHS.decisions, 'allowed=yes', '"allowed" must be true or false.'],
  [PATHS.decisions, 'device=a b', PATTERN.replace('pattern', 'device')],
  [PATHS.decisions, 'cursor=?', '"cursor" must be the nextCursor of the page before.'],
  [PATHS.feed, 'types=all', '"types" must be some of decision, change, overdue, with commas between.'],
  [PATHS.locks, 'all=yes', '"all" must be true or false.'],
])('%s?%s: %s', async (path, query, message) => {
  const { status, body } = await authority.get(`${path}?${query}`, authority.keys.viewer)
  expect({ status, code: body.code, message: body.message }).toEqual({
    status: 400,
    code: 'BAD_REQUEST',
    message,
  })
})

test('malformed JSON comes with what to check', async () => {
  expect(await told(PATHS.revoke, "{'a':1}")).toBe(
    'MALFORMED_JSON The body is not well-formed JSON in UTF-8. Check the quotes of the JSON text that you send.',
  )
})

test('a key of the wrong kind is told which kinds it takes, in a sentence', async () => {
  expect(await told(PATHS.orgEnable, {}, 'operator')).toBe(
    'INSUFFICIENT_SCOPE An operator key may not do this. It takes a key of kind admin or full.',
  )
  expect(await told(PATHS.revoke, { deviceId: DEVICE }, 'viewer')).toBe(
    'INSUFFICIENT_SCOPE A viewer key may not do this. It takes a key of kind stop, operator, admin or full.',
  )
  expect(await told(PATHS.validate, { deviceId: DEVICE }, 'admin')).toMatch(/ An admin key may not /)
})

test('G6: a stale epoch is told beside the current one, for a device and for the org switch', async () => {
  const epoch = await authority.revoke(DEVICE)
  expect(await told(PATHS.unrevoke, { deviceId: DEVICE, ifEpoch: 999 })).toBe(
    `EPOCH_STALE ifEpoch is 999, but the device's epoch is ${epoch}. Look at it again before you restore.`,
  )
  expect(await told(PATHS.orgEnable, { ifEpoch: 999 })).toBe(
    "EPOCH_STALE ifEpoch is 999, but the org switch's epoch is 0. Look at it again before you restore.",
  )
  expect(await told(PATHS.unrevoke, { deviceId: DEVICE }, 'operator')).toBe(
    `EPOCH_REQUIRED A restore needs "ifEpoch", the epoch you last saw. At present the device's epoch is ${epoch}.`,
  )
})

test.each([
  ['/api/v1/devices/stop', 'There is no call POST /api/v1/devices/stop. docs/http.md lists the calls.'],
  [
    '/api/v1/devices/revoke/?x=1',
    'There is no call POST /api/v1/devices/revoke/. Leave out the slash at its end. docs/http.md lists the calls.',
  ],
  [
    '/usage',
    'There is no call POST /usage. Every call of this API begins with /api/v1/. docs/http.md lists the calls.',
  ],
  [
    '/api/v1/org_full_abcdefgh',
    'There is no call POST /api/v1/org_[redacted]. docs/http.md lists the calls.',
  ],
])('an unknown call %s is named, without its query and without a key', async (path, message) => {
  expect(await told(path, {})).toBe(`NOT_FOUND ${message}`)
})
