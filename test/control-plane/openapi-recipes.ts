// How to get each answer that openapi.json describes, for real.

import { DatabaseSync } from 'node:sqlite'

import { mintKey } from '../../src/control-plane/keys.ts'
import type { DrillRunner } from '../../src/control-plane/drills/drill-runs.ts'
import { HoldpointError } from '../../src/errors.ts'
import { askedApproval, runReport } from '../fixtures/approvals.ts'
import { drillReport } from '../fixtures/drill-report.ts'
import type { Operation } from './openapi-contract.ts'
import {
  ACCEPTED_SESSIONS,
  COMMON_SESSIONS,
  fromAnotherPage,
  OWN_SESSIONS,
} from './openapi-recipes-sessions.ts'
import { DEVICE, NONCE, startWorld, type Answer, type Asked, type World } from './openapi-world.ts'

const OWNER = 'owner@example.com'
const TEST = { actor: 'test', kind: 'platform', requestId: null, origin: null } as const

export interface Worlds extends AsyncDisposable {
  readonly main: World
  /** Its store can no longer be trusted. */
  readonly broken: World
  readonly unsure: World
  /** Its quotas are on. */
  readonly limited: World
  /** It takes itself for too late. */
  readonly late: World
  /** It is being stopped. */
  readonly leaving: World
  /** On loopback, without a platform token; and with room for one stream of stops. */
  readonly tokenless: World
  /** Reachable from elsewhere, without a platform token. */
  readonly remote: World
}

export async function startWorlds(): Promise<Worlds> {
  const drills = { orgId: '', run: untilClosed }
  const main = await startWorld({ plan: 'max', drillRunner: drills })
  drills.orgId = main.authority.orgId
  const broken = await startWorld()
  broken.authority.controlPlane.suspect(new HoldpointError('STORE_IO', 'The disk is gone.'))
  const unsure = await startWorld()
  unsure.authority.controlPlane.suspect(new HoldpointError('STORE_OUTCOME_UNKNOWN', 'COMMIT got no answer.'))
  const limits = { perKeyPerSecond: 1, perOrgPerSecond: 0 }
  const limited = await startWorld({ limitCalls: true, limits, still: true })
  const late = await startWorld({ shedAtLagMs: -1 })
  const leaving = await startWorld()
  leaving.authority.controlPlane.feed.close()
  const tokenless = await startWorld({ platformToken: undefined, maxStopStreams: 1 })
  const remote = await startWorld({ platformToken: undefined, loopback: false })
  await main.must('postOrgOwners', { body: { add: [OWNER] } })
  const worlds = { main, broken, unsure, limited, late, leaving, tokenless, remote }
  return {
    ...worlds,
    [Symbol.asyncDispose]: async () => {
      for (const world of Object.values(worlds)) await world[Symbol.asyncDispose]()
    },
  }
}

const untilClosed: DrillRunner['run'] = ({ signal }) =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve('failed')))

const PRESENCE = {
  replica: 'walk',
  devices: [{ deviceId: DEVICE, inFlight: 2 }],
  timeoutMs: 2000,
  latencyMs: { p50: 1, p99: 3.5 },
}

let drills = 0
const newDrillId = () => `walk-${++drills}`

const deskApproval = (changes = {}) =>
  askedApproval(newDrillId(), { deviceIds: [DEVICE, 'not:registered'], ...changes })
async function asked({ must }: World) {
  const approval = deskApproval()
  await must('postApprovals', { body: { approvals: [approval] } })
  return approval
}
const UNKNOWN = {
  id: 'key-1',
  effect: 'charge',
  kind: 'payment',
  tool: 'send_payment',
  runId: 'walk-1',
  callId: null,
  changedAt: '2026-11-22T08:00:00Z',
}

/** What each call is answered 200 for. */
export const ACCEPTED: Record<string, (world: World) => Promise<Asked> | Asked> = {
  ...ACCEPTED_SESSIONS,
  postDevicesValidate: () => ({ body: { deviceId: DEVICE, nonce: NONCE, context: { boundary: 'tool' } } }),
  getDevicesValidate: () => ({ query: { deviceId: DEVICE } }),
  postDevicesValidateBatch: () => ({ body: { deviceIds: [DEVICE, 'not:registered'], nonce: NONCE } }),
  postDevicesRegister: () => ({ body: { deviceId: DEVICE, labels: { team: 'blue' } } }),
  getDevicesList: () => ({ query: { limit: '1' } }),
  postDevicesRevoke: async ({ newDevice }) => ({ body: { deviceId: await newDevice(), reason: 'test' } }),
  postDevicesUnrevoke: async (world) => ({ body: await revoked(world) }),
  postDevicesRemove: async ({ newDevice }) => ({ body: { deviceId: await newDevice() } }),
  postDevicesRevokeBatch: async ({ newDevice }) => ({
    body: { deviceIds: [await newDevice(), 'not:registered'] },
  }),
  postDevicesUnrevokeBatch: async (world) => ({
    body: { items: [await revoked(world), { deviceId: 'not:registered', ifEpoch: 0 }] },
  }),
  postLocks: () => ({ body: { pattern: 'walk:test:*', reason: 'test', remindAfterSeconds: 60 } }),
  getLocks: () => ({ query: { all: 'true' } }),
  postLocksRelease: async (world) => {
    const { lockId, epoch } = await world.must('postLocks', { body: { pattern: 'walk:*', reason: 'test' } })
    return { id: lockId, body: { ifEpoch: epoch } }
  },
  getOrgKeys: () => ({}),
  postOrgKeys: () => ({ body: { kind: 'runtime', name: 'test', bindings: ['walk:*'] } }),
  postOrgKeysRotate: async (world) => ({ id: (await newKey(world)).keyId, body: { overlapSeconds: 60 } }),
  postOrgKeysBurn: async (world) => ({ id: (await newKey(world)).keyId, body: { reason: 'test' } }),
  postOrgCreate: () => ({ body: { email: OWNER, kinds: ['viewer'] } }),
  postOrgPlan: async (world) => ({
    body: { orgId: (await otherOrg(world)).orgId, tier: 'custom', limit: 7 },
  }),
  getUsage: () => ({}),
  postOrgDisable: () => ({ body: { reason: 'test' } }),
  postOrgEnable: async ({ must }) => ({ body: { ifEpoch: (await must('getUsage')).org.epoch } }),
  getOrgOwners: () => ({}),
  postOrgOwners: () => ({ body: { add: ['second@example.com'] } }),
  postOrgRecover: () => ({ body: { email: 'nobody@example.com' } }),
  postOrgRecoverConfirm: async ({ authority: { service, orgId } }) => {
    const link = await service.createRecoveryLink(TEST, orgId, OWNER)
    return { body: { token: link?.token } }
  },
  getDecisions: async ({ must }) => {
    const { request_id } = await must('postDevicesValidate', { body: { deviceId: 'not:registered' } })
    return { query: { request_id } }
  },
  getFeed: ({ newDevice }) => ({ query: { types: 'change,overdue' }, meanwhile: newDevice }),
  getAudit: () => ({ query: { limit: '2' } }),
  getAuditVerify: () => ({}),
  getStops: () => ({ query: { replica: 'walk', devices: DEVICE } }),
  postStopsAck: async (world) => {
    const { deviceId } = await revoked(world)
    const { stops } = await world.must('getStopsHistory', { query: { limit: '1' } })
    if (stops[0].deviceIds[0] !== deviceId) throw new Error('The newest stop is another one.')
    const call = { callId: 'c1', runId: null, tool: 'send_payment', end: 'aborted' }
    const ack = { phase: 'settled', aborted: 1, finished: 0, unknown: 0, running: 0, calls: [call] }
    return { body: { replica: 'walk', acks: [{ epoch: stops[0].epoch, ...ack }] } }
  },
  getStopsHistory: () => ({ query: { limit: '2' } }),
  getStopsSet: async (world) => ({ query: { epoch: String((await revoked(world)).ifEpoch) } }),
  postPresence: () => ({ body: PRESENCE }),
  getReplicas: async ({ must }) => {
    await must('postPresence', { body: PRESENCE })
    return {}
  },
  postDrills: ({ authority }) => ({ body: { report: drillReport(authority.orgId, newDrillId()) } }),
  getDrills: async ({ authority, must }) => {
    await must('postDrills', { body: { report: drillReport(authority.orgId, newDrillId()) } })
    return { query: { limit: '1' } }
  },
  getDrillsById: async ({ authority, must }) => {
    const drillId = newDrillId()
    await must('postDrills', { body: { report: drillReport(authority.orgId, drillId) } })
    return { id: drillId }
  },
  postDrillsCut: () => ({ body: { deviceId: 'openai-agent:test:canary:01', seconds: 1 } }),
  getOrgSigningKey: () => ({}),
  getDiagnosis: () => ({}),
  getDrillsRun: () => ({}),
  postDrillsRun: () => ({ body: {} }),
  getDecisionsRates: () => ({}),
  postApprovals: () => ({ body: { approvals: [deskApproval()] } }),
  postApprovalsWithdraw: async (world) => ({ body: { approvalIds: [(await asked(world)).approvalId] } }),
  getApprovals: async (world) => {
    await asked(world)
    return { query: { state: 'waiting', limit: '1' } }
  },
  getApprovalsById: async (world) => ({ id: (await asked(world)).approvalId }),
  postApprovalsDecide: async (world) => {
    await world.must('postOrgDisable', { body: {} })
    await world.must('postOrgEnable', { body: { ifEpoch: (await world.must('getUsage')).org.epoch } })
    const { approvalId, digest } = await asked(world)
    return { id: approvalId, body: { digest, approve: false, message: 'Not today.' } }
  },
  postRunsReport: () => ({ body: runReport('walk-1') }),
  getRuns: async (world) => {
    await world.must('postRunsReport', { body: runReport('walk-1') })
    return { query: { limit: '1' } }
  },
  getRunsById: async (world) => {
    await world.must('postRunsReport', { body: runReport('walk-1') })
    return { id: 'walk-1' }
  },
  getRunsUnknown: async (world) => {
    await world.must('postRunsReport', { body: { ...runReport('walk-1'), unknownEffects: [UNKNOWN] } })
    return {}
  },
  getHealthz: () => ({}),
  getReadyz: () => ({}),
  getMetrics: () => ({}),
  getOpenapi: () => ({}),
  getRecover: () => ({}),
}

/** Answers of another type than the first one. */
export const OTHER_TYPES: Record<string, Asked> = {
  'getAudit 200 application/x-ndjson': { query: { format: 'jsonl' } },
  'getAudit 200 text/csv': { query: { format: 'csv' } },
}

/** Refused by every call of a kind, whatever else is asked: never changes anything. */
export const COMMON: Record<string, (worlds: Worlds, operation: Operation) => Promise<Answer>> = {
  ...COMMON_SESSIONS,
  BAD_REQUEST: ({ main }, operation) => main.ask(operation, nonsense(operation)),
  MALFORMED_JSON: ({ main }, operation) => main.ask(operation, { body: '{' }),
  BODY_TOO_LARGE: ({ main }, operation) =>
    main.ask(operation, { body: JSON.stringify({ padding: 'x'.repeat(operation.maxBodyBytes) }) }),
  UNSUPPORTED_MEDIA_TYPE: ({ main }, operation) =>
    main.ask(operation, { body: '{}', headers: { 'content-type': 'text/plain' } }),
  DEVICE_ID_INVALID: ({ main }, operation) => {
    const deviceId = 'not a device ID'
    const presence = { ...PRESENCE, devices: [{ deviceId, inFlight: 0 }] }
    const body = { deviceId, deviceIds: [deviceId], items: [{ deviceId }], nonce: NONCE, ...presence }
    if ('deviceId' in operation.query) return main.ask(operation, { query: { deviceId } })
    return main.ask(operation, operation.method === 'GET' ? {} : { body })
  },
  KEY_MISSING: ({ main }, operation) => main.ask(operation, { ...nonsense(operation), key: null }),
  KEY_INVALID: ({ main }, operation) =>
    main.ask(operation, { ...nonsense(operation), key: mintKey('full').key }),
  KEY_BURNED: async ({ main }, operation) => {
    const { keyId, key } = await newKey(main, 'full')
    await main.must('postOrgKeysBurn', { id: keyId, body: {} })
    return main.ask(operation, { ...nonsense(operation), key })
  },
  KEY_EXPIRED: async ({ main }, operation) => {
    const { keyId, key } = await newKey(main, 'full')
    await main.must('postOrgKeysRotate', { id: keyId, body: { overlapSeconds: 60 } })
    main.advance(61_000)
    return main.ask(operation, { ...nonsense(operation), key })
  },
  INSUFFICIENT_SCOPE: ({ main }, operation) => {
    const wrong = (['runtime', 'viewer', 'stop'] as const).find((kind) => !operation.kinds.includes(kind))
    return main.ask(operation, { ...nonsense(operation), key: main.authority.keys[wrong ?? 'viewer'] })
  },
  PLATFORM_TOKEN_INVALID: ({ main }, operation) =>
    main.ask(operation, { ...nonsense(operation), headers: { authorization: 'Bearer wrong' } }),
  PLATFORM_TOKEN_NOT_CONFIGURED: ({ remote }, operation) => remote.ask(operation, nonsense(operation)),
  ORIGIN_NOT_ALLOWED: ({ main, tokenless }, operation) =>
    operation.kinds.length > 0
      ? fromAnotherPage(main, operation)
      : tokenless.ask(operation, { ...nonsense(operation), headers: { origin: 'https://evil.example' } }),
  HOST_NOT_ALLOWED: ({ main }, operation) =>
    main.ask(operation, { ...nonsense(operation), headers: { host: 'evil.example' } }),
  STORE_UNAVAILABLE: ({ broken }, operation) => broken.ask(operation, nonsense(operation)),
  // Only what changes something can end so.
  STORE_OUTCOME_UNKNOWN: ({ unsure, main }, operation) => {
    const changes = operation.outcomes.has('503 STORE_OUTCOME_UNKNOWN')
    return (changes ? unsure : main).ask(operation, nonsense(operation))
  },
  RATE_LIMITED: async ({ limited }, operation) => {
    const key = limited.keyFor(operation, ['operator', 'admin', 'runtime']) ?? null
    for (let round = 0; round < 600; round++) {
      const answers = await Promise.all(
        Array.from({ length: 64 }, () => limited.ask(operation, { ...nonsense(operation), key })),
      )
      const limit = answers.find(({ status }) => status === 429)
      if (limit !== undefined) return limit
    }
    throw new Error(`${operation.id} has no limit.`)
  },
}

/** What only some calls refuse with, by operation and code. */
export const OWN: Record<string, (worlds: Worlds, operation: Operation) => Promise<Answer>> = {
  ...OWN_SESSIONS,
  ...forEach(['postDevicesValidate', 'getDevicesValidate', 'postDevicesValidateBatch'], {
    WRONG_LANE: ({ main }, operation) => main.ask(operation, { ...nonsense(operation), lane: 'operator' }),
    OVERLOADED: ({ late }, operation) => late.ask(operation, nonsense(operation)),
  }),
  ...forEach(
    [
      'postDevicesValidate',
      'getDevicesValidate',
      'postDevicesValidateBatch',
      'postDevicesRegister',
      'getStops',
      'postPresence',
      'postApprovals',
    ],
    {
      KEY_NOT_BOUND_TO_DEVICE: async ({ main }, operation) => {
        const { key } = await newKey(main)
        const { query, body } = (await ACCEPTED[operation.id]?.(main)) ?? {}
        return main.ask(operation, { ...(query && { query }), ...(body !== undefined && { body }), key })
      },
    },
  ),
  ...forEach(['getStops'], {
    WRONG_LANE: ({ main }, operation) => main.ask(operation, { ...nonsense(operation), lane: 'operator' }),
    OVERLOADED: ({ late }, operation) => late.ask(operation, STREAMED['getStops']),
    TOO_MANY_STREAMS: async ({ tokenless }, operation) => {
      using _held = await tokenless.open(operation, STREAMED['getStops'])
      return await tokenless.ask(operation, { query: { replica: 'another', devices: DEVICE } })
    },
  }),
  ...asking('postDrills', {
    DRILL_EXISTS: async ({ main }) => {
      const body = { report: drillReport(main.authority.orgId, newDrillId()) }
      await main.must('postDrills', { body })
      return { body }
    },
  }),
  ...asking('postApprovals', {
    DEVICE_ID_INVALID: () => ({ body: { approvals: [deskApproval({ deviceIds: ['not a device'] })] } }),
    APPROVAL_CONFLICT: async ({ main }) => {
      const { approvalId } = await asked(main)
      return { body: { approvals: [askedApproval(approvalId, { args: {} })] } }
    },
    TOO_MANY_APPROVALS: async ({ main }) => {
      const { orgApiKey: key } = await otherOrg(main)
      const approvals = (count: number) => ({
        approvals: Array.from({ length: count }, () => deskApproval()),
      })
      for (let times = 0; times < 10; times++) await main.must('postApprovals', { key, body: approvals(50) })
      return { key, body: approvals(1) }
    },
  }),
  ...asking('getApprovalsById', {
    BAD_REQUEST: () => ({ id: '%' }),
    APPROVAL_NOT_FOUND: () => ({ id: 'none' }),
  }),
  ...asking('postApprovalsDecide', {
    APPROVAL_NOT_FOUND: () => ({ id: 'none', body: { digest: 'ab'.repeat(32), approve: true } }),
    APPROVAL_NOT_WAITING: async (worlds) => {
      const decide = (await ACCEPTED['postApprovalsDecide']?.(worlds.main)) ?? {}
      await worlds.main.must('postApprovalsDecide', decide)
      return decide
    },
    APPROVAL_DIGEST_MISMATCH: async ({ main }) => ({
      ...(await ACCEPTED['postApprovalsDecide']?.(main)),
      body: { digest: 'ab'.repeat(32), approve: true },
    }),
    ORG_DISABLED: async ({ main }) => {
      const decide = (await ACCEPTED['postApprovalsDecide']?.(main)) ?? {}
      await main.must('postOrgDisable', { body: {} })
      return decide
    },
    EPOCH_STALE: async ({ main }) => {
      const { id = '' } = (await ACCEPTED['postApprovalsDecide']?.(main)) ?? {}
      return { id, body: { digest: deskApproval().digest, approve: true, ifEpoch: 0 } }
    },
  }),
  ...asking('getRunsById', { BAD_REQUEST: () => ({ id: '%' }), NOT_FOUND: () => ({ id: 'none' }) }),
  ...asking('getStopsSet', { NOT_FOUND: () => ({ query: { epoch: '999999' } }) }),
  ...asking('postDrillsRun', {
    DRILLS_NOT_CONFIGURED: async ({ main }) => ({ key: (await otherOrg(main)).orgApiKey, body: {} }),
    DRILL_RUNNING: async ({ main }) => {
      // It has one that goes on until it is closed.
      await main.ask(main.operation('postDrillsRun'), { body: {} })
      return { body: {} }
    },
  }),
  ...asking('getDrillsById', { BAD_REQUEST: () => ({ id: '%' }), NOT_FOUND: () => ({ id: 'none' }) }),
  ...asking('postDevicesRegister', {
    DEVICE_LIMIT_REACHED: async ({ main }) => {
      const { orgId, orgApiKey } = await otherOrg(main)
      await main.must('postOrgPlan', { body: { orgId, tier: 'custom', limit: 0 } })
      return { key: orgApiKey, body: { deviceId: DEVICE } }
    },
    DEVICE_REVOKED: async ({ main }) => ({ body: { deviceId: (await revoked(main)).deviceId } }),
    DEVICE_REMOVED: async ({ main }) => ({ body: { deviceId: (await removed(main)).deviceId } }),
    EPOCH_STALE: async ({ main }) => {
      const { deviceId, epoch } = await removed(main)
      return { body: { deviceId, restoreRemoved: true, ifEpoch: epoch - 1 } }
    },
    EPOCH_REQUIRED: async ({ main }) => {
      const { deviceId } = await removed(main)
      return { body: { deviceId, restoreRemoved: true } }
    },
  }),
  ...forEach(['postDevicesRevoke', 'postDevicesUnrevoke', 'postDevicesRemove'], {
    DEVICE_NOT_REGISTERED: ({ main }, operation) =>
      main.ask(operation, {
        body: { deviceId: 'not:registered', ...(operation.id.includes('Un') && { ifEpoch: 0 }) },
      }),
  }),
  ...asking('postDevicesUnrevoke', {
    EPOCH_STALE: async ({ main }) => ({ body: { ...(await revoked(main)), ifEpoch: 0 } }),
    EPOCH_REQUIRED: async ({ main }) => ({
      key: main.authority.keys.operator,
      body: { deviceId: (await revoked(main)).deviceId },
    }),
  }),
  ...asking('postDevicesRevokeBatch', {
    TOO_MANY_DEVICES: async ({ main }) => {
      const { orgId, orgApiKey } = await otherOrg(main)
      insertDevices(main, orgId, 10_001)
      return { key: orgApiKey, body: { pattern: 'many:*' } }
    },
  }),
  ...asking('postLocksRelease', {
    LOCK_NOT_FOUND: () => ({ id: 'none', body: { ifEpoch: 0 } }),
    EPOCH_STALE: async ({ main }) => ({
      ...(await ACCEPTED['postLocksRelease']?.(main)),
      body: { ifEpoch: 0 },
    }),
    EPOCH_REQUIRED: async ({ main }) => ({ ...(await ACCEPTED['postLocksRelease']?.(main)), body: {} }),
  }),
  ...asking('postOrgEnable', {
    EPOCH_STALE: async ({ main }) => {
      await main.must('postOrgDisable', { body: {} })
      return { body: { ifEpoch: 0 } }
    },
    EPOCH_REQUIRED: () => ({ body: {} }),
  }),
  ...asking('postOrgPlan', { ORG_NOT_FOUND: () => ({ body: { orgId: 'none', tier: 'pro' } }) }),
  ...asking('postOrgKeysRotate', {
    KEY_NOT_FOUND: () => ({ id: 'none', body: {} }),
    KEY_ENDED: async ({ main }) => {
      const { keyId: id } = await newKey(main)
      await main.must('postOrgKeysBurn', { id, body: {} })
      return { id, body: {} }
    },
  }),
  ...asking('postOrgKeysBurn', { KEY_NOT_FOUND: () => ({ id: 'none', body: {} }) }),
  ...asking('postOrgOwners', {
    LAST_OWNER: async ({ main }) => ({ body: { remove: (await main.must('getOrgOwners')).owners } }),
    TOO_MANY_OWNERS: () => ({
      body: { add: Array.from({ length: 20 }, (_, n) => `owner-${n}@example.com`) },
    }),
  }),
  ...asking('postOrgRecoverConfirm', { RECOVERY_LINK_INVALID: () => ({ body: { token: 'unknown' } }) }),
  ...limitedAfter('postOrgRecover', { body: { email: 'nobody@example.com' } }),
  ...limitedAfter('postOrgRecoverConfirm', { body: { token: 'unknown' } }),
  ...asking('getDecisions', { NOT_FOUND: () => ({ query: { request_id: 'local_1' } }) }),
  ...forEach(['getFeed', 'getAudit', 'getAuditVerify', 'getDecisions'], {
    TOO_MANY_STREAMS: async ({ main }, operation) => {
      const { key } = await newKey(main, 'full')
      const feed = main.operation('getFeed')
      using streams = new DisposableStack()
      for (let open = 0; open < 20; open++) streams.use(await main.open(feed, { key }))
      return await main.ask(operation, { key, ...STREAMED[operation.id] })
    },
    OVERLOADED: ({ leaving }, operation) => leaving.ask(operation, { ...STREAMED[operation.id] }),
  }),
  'getReadyz 503': ({ broken }, operation) => broken.ask(operation),
  'getMetrics INSUFFICIENT_SCOPE': ({ main }, operation) =>
    main.ask(operation, { headers: { 'x-forwarded-for': '203.0.113.7', authorization: 'Bearer wrong' } }),
}

const STREAMED: Record<string, Asked> = {
  getAudit: { query: { format: 'jsonl' } },
  getStops: { query: { replica: 'walk', devices: DEVICE } },
}

type Recipe = (worlds: Worlds, operation: Operation) => Promise<Answer>

function forEach(operations: readonly string[], recipes: Record<string, Recipe>): Record<string, Recipe> {
  return Object.fromEntries(
    operations.flatMap((id) => Object.entries(recipes).map(([code, recipe]) => [`${id} ${code}`, recipe])),
  )
}

/** Recipes for the main world. */
function asking(
  id: string,
  recipes: Record<string, (worlds: Worlds) => Promise<Asked> | Asked>,
): Record<string, Recipe> {
  return Object.fromEntries(
    Object.entries(recipes).map(([code, asked]): [string, Recipe] => [
      `${id} ${code}`,
      async (worlds, operation) => worlds.main.ask(operation, await asked(worlds)),
    ]),
  )
}

/** Calls without a key are limited by where they come from. */
function limitedAfter(id: string, asked: Asked): Record<string, Recipe> {
  return {
    [`${id} RATE_LIMITED`]: async ({ limited }, operation) => {
      for (let times = 0; times < 10; times++) await limited.ask(operation, asked)
      return limited.ask(operation, asked)
    },
  }
}

/** What no call understands. */
function nonsense({ method, query }: Operation): Asked {
  if (method === 'POST') return { body: '[]' }
  return {
    query: Object.fromEntries(Object.keys(query).map((name) => [name, name === 'deviceId' ? DEVICE : 'x'])),
  }
}

async function newKey({ must }: World, kind = 'runtime'): Promise<{ key: string; keyId: string }> {
  return must('postOrgKeys', {
    body: { kind, ...(kind === 'runtime' && { bindings: ['none:of:these:01'] }) },
  })
}

async function otherOrg({ must }: World): Promise<{ orgId: string; orgApiKey: string }> {
  return must('postOrgCreate', { body: {} })
}

async function revoked({ must, newDevice }: World): Promise<{ deviceId: string; ifEpoch: number }> {
  const deviceId = await newDevice()
  const { epoch } = await must('postDevicesRevoke', { body: { deviceId } })
  return { deviceId, ifEpoch: epoch }
}

async function removed({ must, newDevice }: World): Promise<{ deviceId: string; epoch: number }> {
  const deviceId = await newDevice()
  const { epoch } = await must('postDevicesRemove', { body: { deviceId } })
  return { deviceId, epoch }
}

/** Straight into the file: one by one it would take a while. */
function insertDevices({ authority }: World, orgId: string, count: number): void {
  using db = new DatabaseSync(authority.file, { timeout: 5000 })
  db.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
     INSERT INTO devices (org_id, device_id, revoked, removed, slot, epoch, labels, created_at_ms, changed_at_ms)
     SELECT ?, 'many:' || i, 0, 0, i, 0, '{}', 0, 0 FROM n`,
  ).run(count, orgId)
}
