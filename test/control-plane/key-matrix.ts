import { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { request } from 'undici'

import type { Caller } from '../../src/control-plane/service.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import type { KeyKind } from '../../src/machineid/wire.ts'
import type { TestControlPlane } from '../fixtures/control-plane.ts'
import { askedApproval, runReport } from '../fixtures/approvals.ts'
import { drillReport } from '../fixtures/drill-report.ts'

// Every call of the API, and which kinds of keys may make it: the table of DESIGN.md, section 7, written out a second
// time. api-matrix.test.ts holds the API against it.

export const DEVICE = 'openai-agent:test:payments:01'
export const NONCE = 'n'.repeat(22)

const READERS = ['viewer', 'stop', 'operator', 'admin', 'full'] as const
const STOPPERS = ['stop', 'operator', 'admin', 'full'] as const
const OPERATORS = ['operator', 'admin', 'full'] as const
const ADMINS = ['admin', 'full'] as const
const WITNESSES = ['viewer', 'operator', 'admin', 'full'] as const
const ASKERS = ['runtime', 'full'] as const

const RECEIVED = { epoch: 1, phase: 'received', aborted: 0, finished: 0, unknown: 0, running: 0 }

interface Made {
  /** In the place of `:id`. */
  readonly id?: string
  readonly query?: string
  readonly body?: unknown
}

export interface MatrixCall {
  readonly name: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** Who may. `platform` takes the platform token, `none` takes nothing. */
  readonly access: readonly KeyKind[] | 'platform' | 'none'
  /** Takes `?preview=true`. */
  readonly previews?: true
  /** Never kept waiting by a quota. */
  readonly stops?: true
  /** Makes ready what the call is about, so that whoever may make it gets `status`. */
  readonly make?: (world: World) => Made | Promise<Made>
  /** Default 200. */
  readonly status?: number
}

const get = (path: string, access: MatrixCall['access'], query = ''): MatrixCall => ({
  name: query === '' ? `GET ${path}` : `GET ${path}?${query}`,
  method: 'GET',
  path,
  access,
  make: () => ({ query }),
})
const post = (
  path: string,
  access: MatrixCall['access'],
  make: NonNullable<MatrixCall['make']>,
  more: Partial<MatrixCall> = {},
): MatrixCall => ({ name: `POST ${path}`, method: 'POST', path, access, make, ...more })
const STOP = { previews: true, stops: true } as const

export const CALLS: readonly MatrixCall[] = [
  post(PATHS.register, ['runtime', ...OPERATORS], () => ({ body: { deviceId: DEVICE } })),
  post(
    PATHS.register,
    OPERATORS,
    async (world) => {
      const deviceId = await world.newDevice()
      const { epoch } = await world.service.remove(TESTER, world.orgId, { deviceId })
      return { body: { deviceId, restoreRemoved: true, ifEpoch: epoch } }
    },
    { name: `POST ${PATHS.register} of a removed device` },
  ),
  post(PATHS.validate, ASKERS, () => ({ body: { deviceId: DEVICE } })),
  get(PATHS.validate, ASKERS, `deviceId=${DEVICE}`),
  post(PATHS.validateBatch, ASKERS, () => ({ body: { deviceIds: [DEVICE], nonce: NONCE } })),
  get(PATHS.list, READERS),
  get(PATHS.usage, READERS),
  post(PATHS.revoke, STOPPERS, async (world) => ({ body: { deviceId: await world.newDevice() } }), STOP),
  post(
    PATHS.revokeBatch,
    STOPPERS,
    async (world) => ({ body: { deviceIds: [await world.newDevice()] } }),
    STOP,
  ),
  post(PATHS.remove, OPERATORS, async (world) => ({ body: { deviceId: await world.newDevice() } }), STOP),
  post(PATHS.unrevoke, OPERATORS, async (world) => ({ body: await world.newRevoked() })),
  post(PATHS.unrevokeBatch, OPERATORS, async (world) => ({ body: { items: [await world.newRevoked()] } })),
  post(PATHS.locks, STOPPERS, (world) => ({ body: { pattern: `${world.fresh()}:*`, reason: 'test' } }), STOP),
  get(PATHS.locks, READERS),
  post(PATHS.lockRelease, OPERATORS, async (world) => {
    const asked = { pattern: `${world.fresh()}:*`, reason: 'test' }
    const { lockId, epoch } = await world.service.lock(TESTER, world.orgId, asked)
    return { id: lockId, body: { ifEpoch: epoch } }
  }),
  post(PATHS.orgDisable, STOPPERS, () => ({ body: {} }), STOP),
  post(PATHS.orgEnable, ADMINS, async (world) => {
    const { epoch } = await world.service.disableOrg(TESTER, world.orgId)
    return { body: { ifEpoch: epoch } }
  }),
  get(PATHS.keys, ADMINS),
  post(PATHS.keys, ADMINS, () => ({ body: { kind: 'viewer', name: 'wall' } })),
  post(PATHS.keyRotate, ADMINS, async (world) => ({ id: await world.newKeyId(), body: {} })),
  post(PATHS.keyBurn, ADMINS, async (world) => ({ id: await world.newKeyId(), body: {} }), STOP),
  get(PATHS.orgOwners, ADMINS),
  post(PATHS.orgOwners, ADMINS, () => ({ body: { add: ['owner@example.com'] } })),
  get(PATHS.decisions, WITNESSES),
  get(PATHS.decisionRates, READERS),
  get(PATHS.feed, WITNESSES),
  get(PATHS.audit, WITNESSES),
  get(PATHS.auditVerify, WITNESSES),
  get(PATHS.stops, ASKERS, `replica=r1&devices=${DEVICE}`),
  post(PATHS.stopsAck, ASKERS, () => ({ body: { replica: 'r1', acks: [RECEIVED] } })),
  post(PATHS.presence, ASKERS, () => ({
    body: { replica: 'r1', devices: [{ deviceId: DEVICE, inFlight: 0 }], timeoutMs: 2000, latencyMs: null },
  })),
  get(PATHS.replicas, READERS),
  get(PATHS.stopHistory, READERS),
  {
    ...get(PATHS.stopSet, READERS),
    make: async (world) => ({ query: `epoch=${(await world.newRevoked()).ifEpoch}` }),
  },
  post(PATHS.drills, OPERATORS, (world) => ({
    body: { report: drillReport(world.orgId, newDrillId(world)) },
  })),
  get(PATHS.drills, READERS),
  {
    ...get(PATHS.drill, READERS),
    make: async (world) => {
      const drillId = newDrillId(world)
      await world.service.storeDrill(TESTER, world.orgId, drillReport(world.orgId, drillId))
      return { id: drillId }
    },
  },
  post(PATHS.drillCut, OPERATORS, () => ({ body: { deviceId: 'openai-agent:test:canary:01', seconds: 0 } })),
  post(PATHS.drillRun, OPERATORS, async (world) => {
    await world.drillEnded()
    return { body: {} }
  }),
  get(PATHS.drillRun, READERS),
  get(PATHS.signingKey, READERS),
  get(PATHS.diagnosis, READERS),
  post(PATHS.approvals, ASKERS, (world) => ({ body: { approvals: [askedApproval(newDrillId(world))] } })),
  post(PATHS.approvalsWithdraw, ASKERS, async (world) => ({
    body: { approvalIds: [(await newApproval(world)).approvalId] },
  })),
  get(PATHS.approvals, ['runtime', ...READERS]),
  {
    ...get(PATHS.approval, ['runtime', ...READERS]),
    make: async (world) => ({ id: (await newApproval(world)).approvalId }),
  },
  post(PATHS.approvalDecide, OPERATORS, async (world) => {
    // Whatever other calls have left behind.
    const { epoch } = await world.service.disableOrg(TESTER, world.orgId)
    await world.service.enableOrg(TESTER, world.orgId, { ifEpoch: epoch })
    const { approvalId, digest } = await newApproval(world)
    return { id: approvalId, body: { digest, approve: true } }
  }),
  post(PATHS.runsReport, ASKERS, (world) => ({ body: runReport(world.fresh()) })),
  get(PATHS.runs, READERS),
  get(PATHS.unknownEffects, READERS),
  {
    ...get(PATHS.run, READERS),
    make: async (world) => {
      const runId = world.fresh()
      const { keyId } = await world.service.issueKey({ orgId: world.orgId, kind: 'runtime', caller: TESTER })
      await world.service.reportRuns(world.orgId, keyId, runReport(runId))
      return { id: runId }
    },
  },

  post(PATHS.orgCreate, 'platform', () => ({ body: { email: 'new@example.com', kinds: ['runtime'] } })),
  post(PATHS.orgPlan, 'platform', (world) => ({ body: { orgId: world.orgId, tier: 'max' } }), {
    previews: true,
  }),

  post(PATHS.orgRecover, 'none', () => ({ body: { email: 'owner@example.com' } })),
  post(PATHS.orgRecoverConfirm, 'none', () => ({ body: { token: 'not-one-that-was-mailed' } }), {
    status: 410,
  }),
  // On the lane of agents, and with a key: sessions/ has the rest.
  post(PATHS.session, 'none', () => ({ body: { key: 'org_nothing' } }), { status: 421 }),
  { ...get(PATHS.session, READERS), status: 401 },
  post(PATHS.sessionRefresh, READERS, () => ({ body: {} }), { status: 401 }),
  post(PATHS.sessionEnd, READERS, () => ({ body: { scope: 'mine' } })),
  get(PATHS.openapi, 'none'),
  get(PATHS.healthz, 'none'),
  get(PATHS.readyz, 'none'),
  get(PATHS.metrics, 'none'),
]

const newDrillId = (world: World) => `drill-${world.fresh().replace(/^.*-/, '')}`

async function newApproval({ service, orgId, ...world }: World) {
  const asked = askedApproval(newDrillId({ service, orgId, ...world }))
  await service.askApprovals(TESTER, orgId, { keyId: 'test', bindings: null }, [asked])
  return asked
}

/** Those that take a key. */
export const KEY_CALLS = CALLS.filter(({ access }) => Array.isArray(access)) as readonly (MatrixCall & {
  readonly access: readonly KeyKind[]
})[]

/** Not one of the org's keys, so that none of them counts as used. */
export const TESTER: Caller = { actor: 'platform', kind: 'platform', requestId: null, origin: null }

/** Runs each drill in no time, of the org that it is told. */
export function drillsInNoTime(onKey?: (key: string) => void) {
  const run = async ({ key }: { readonly key: string }) => {
    onKey?.(key)
    return 'held' as const
  }
  return { orgId: '', run }
}

export interface World {
  readonly service: TestControlPlane['service']
  readonly orgId: string
  /** The beginning of a device ID that nobody has. */
  readonly fresh: () => string
  readonly newDevice: () => Promise<string>
  readonly newRevoked: () => Promise<{ readonly deviceId: string; readonly ifEpoch: number }>
  readonly newKeyId: () => Promise<string>
  /** Where drills are run, one goes on for a moment. */
  readonly drillEnded: () => Promise<void>
}

export function createWorld({ service, orgId, controlPlane }: TestControlPlane): World {
  let made = 0
  const fresh = () => `openai-agent:test:made-${++made}`
  const newDevice = async () => {
    const deviceId = `${fresh()}:01`
    const { outcome } = await service.register(TESTER, orgId, { deviceId })
    if (outcome !== 'ok') throw new Error(`${deviceId}: ${outcome}`)
    return deviceId
  }
  return {
    service,
    orgId,
    fresh,
    newDevice,
    newRevoked: async () => {
      const deviceId = await newDevice()
      const { epoch } = await service.revoke(TESTER, orgId, { deviceId })
      return { deviceId, ifEpoch: epoch }
    },
    drillEnded: async () => {
      while ((await controlPlane.drillRuns.of(orgId)).state === 'running') await nextTurn()
    },
    newKeyId: async () => (await service.issueKey({ orgId, kind: 'viewer', caller: TESTER })).keyId,
  }
}

export interface Answer {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- bodies of every shape
  readonly body: any
}

/** Makes a call ready, to be sent as often as one likes. Streams are ended once their headers are there. */
export async function ready(world: World, { method, path, make }: MatrixCall) {
  const { id = '', query = '', body } = (await make?.(world)) ?? {}
  return async (url: string, headers: Readonly<Record<string, string>>, moreQuery = ''): Promise<Answer> => {
    const asked = [query, moreQuery].filter(Boolean).join('&')
    const target = `${url}${path.replace(':id', id)}${asked && `?${asked}`}`
    const response = await request(target, {
      method,
      headers: { ...headers, ...(method === 'POST' && { 'content-type': 'application/json' }) },
      ...(method === 'POST' && { body: JSON.stringify(body ?? {}) }),
    })
    if (String(response.headers['content-type']).startsWith('text/event-stream')) {
      response.body.destroy()
      return { status: response.statusCode, body: undefined }
    }
    const text = await response.body.text()
    return { status: response.statusCode, body: text.startsWith('{') ? JSON.parse(text) : text }
  }
}

/** Every row of every table, as text; of one org, or of all. Reads the file as it is on the disk. */
export function dump(file: string, options: { readonly without?: readonly string[]; orgId?: string } = {}) {
  using db = new DatabaseSync(file, { readOnly: true })
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .all()
    .map(({ name }) => String(name))
  const rows: Record<string, string[]> = {}
  for (const table of tables) {
    if (options.without?.includes(table) === true) continue
    rows[table] = db
      .prepare(`SELECT * FROM "${table}"`)
      .all()
      .filter((row) => options.orgId === undefined || row['org_id'] === options.orgId)
      .map((row) => JSON.stringify(row))
  }
  return rows
}
