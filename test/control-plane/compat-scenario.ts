import { z } from 'zod'

import type { TestControlPlane } from '../fixtures/control-plane.ts'
import type { MachineID } from '../fixtures/machineid-clients/python-sdk.ts'

// What MachineID's clients do with one org key, in order, and what is documented of each answer. Where nothing public
// says what it looks like, `documented` says so, and the answer is ours.

export type Call =
  'register' | 'validate' | 'listDevices' | 'usage' | 'revoke' | 'unrevoke' | 'restore' | 'remove'

export interface Step {
  readonly call: Call
  readonly when: string
  readonly deviceId?: string
  readonly documented: string
  readonly statusCode: number
  readonly answer: z.ZodType
  /** What somebody else does first. */
  readonly first?: (others: Others) => Promise<unknown>
}

/** Whoever else works on the org: its operator, with the same SDK and with the calls of our own, and the platform. */
export interface Others {
  readonly sdk: MachineID
  readonly authority: TestControlPlane
  readonly orgId: string
  readonly orgKey: string
}

const count = z.number().int().nonnegative()
/** Every plan field of every answer that has one, with its documented type. */
const plan = {
  planTier: z.enum(['free', 'pro', 'scale', 'max', 'custom']),
  planState: z.string(),
  accessUntil: z.string().nullable(),
  limit: count,
  devicesUsed: count,
  remaining: count,
  overLimit: z.boolean(),
  softGraceWindow: z.boolean(),
}
const used = (devicesUsed: number, over = false) => ({
  ...plan,
  planTier: z.literal('free'),
  planState: z.literal('active'),
  accessUntil: z.null(),
  limit: z.literal(3),
  devicesUsed: z.literal(devicesUsed),
  remaining: z.literal(3 - devicesUsed),
  overLimit: z.literal(over),
  softGraceWindow: z.literal(false),
})
const uuid = z.string().regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)

const registered = (status: 'ok' | 'exists', deviceId: string, devicesUsed: number) =>
  z.looseObject({
    status: z.literal(status),
    handler: z.literal('devices/register'),
    deviceId: z.literal(deviceId),
    ...used(devicesUsed),
  })
const decided = (code: string) =>
  z.looseObject({
    allowed: z.literal(code === 'ALLOW'),
    code: z.literal(code),
    request_id: uuid,
    status: z.string(),
    reason: z.literal(code === 'ALLOW' ? 'allowed' : 'not_allowed'),
    handler: z.literal('devices/validate'),
  })
const refused = (error: string, fields: z.ZodRawShape = {}) =>
  z.looseObject({ error: z.literal(error), status: z.string(), ...fields })
const changed = (handler: string, deviceId: string) =>
  z.looseObject({ status: z.literal('ok'), handler: z.literal(handler), deviceId: z.literal(deviceId) })
const listed = (devices: Record<string, 'active' | 'revoked'>) =>
  z.looseObject({
    devices: z.tuple(
      Object.entries(devices).map(([deviceId, status]) =>
        z.looseObject({ deviceId: z.literal(deviceId), status: z.literal(status) }),
      ) as unknown as [z.ZodType],
    ),
  })

const setPlan = ({ authority, orgId }: Others, state: 'active' | 'frozen') =>
  authority.service.setPlan({ actor: 'platform', kind: 'platform', requestId: null, origin: null }, orgId, {
    tier: 'free',
    state,
  })

const VALIDATE = 'allowed, code, request_id; legacy status, reason'
const ANY_ERROR = 'status >= 400 with `error`'

export const STEPS: readonly Step[] = [
  {
    call: 'register',
    when: 'a new device',
    deviceId: 'agent-01',
    documented: '`ok`, handler, deviceId, 8 plan fields: used 1, remaining 2',
    statusCode: 200,
    answer: registered('ok', 'agent-01', 1),
  },
  {
    call: 'register',
    when: 'the same again',
    deviceId: 'agent-01',
    documented: '`exists`, the rest the same',
    statusCode: 200,
    answer: registered('exists', 'agent-01', 1),
  },
  {
    call: 'validate',
    when: 'a registered device',
    deviceId: 'agent-01',
    documented: `2xx, ${VALIDATE}`,
    statusCode: 200,
    answer: decided('ALLOW'),
  },
  {
    call: 'validate',
    when: 'an unknown device',
    deviceId: 'agent-77',
    documented: 'not documented (ours)',
    statusCode: 200,
    answer: decided('DEVICE_NOT_REGISTERED'),
  },
  {
    call: 'revoke',
    when: 'an active device',
    deviceId: 'agent-01',
    documented: 'soft ban from the next validate on; body not documented',
    statusCode: 200,
    answer: changed('devices/revoke', 'agent-01'),
  },
  {
    call: 'validate',
    when: 'a revoked device',
    deviceId: 'agent-01',
    documented: '2xx, `allowed:false`, `DEVICE_REVOKED`, request_id',
    statusCode: 200,
    answer: decided('DEVICE_REVOKED'),
  },
  {
    call: 'register',
    when: 'a revoked device',
    deviceId: 'agent-01',
    documented: 'an error; register does not restore; status and word not documented',
    statusCode: 403,
    answer: refused('device_revoked', used(1)),
  },
  {
    call: 'listDevices',
    when: 'one active, one revoked',
    first: ({ sdk }) => sdk.register('agent-02'),
    documented: 'all active and revoked devices; fields not documented',
    statusCode: 200,
    answer: listed({ 'agent-01': 'revoked', 'agent-02': 'active' }),
  },
  {
    call: 'unrevoke',
    when: 'a revoked device, no epoch',
    deviceId: 'agent-01',
    documented: 'the only way to restore; body not documented',
    statusCode: 200,
    answer: changed('devices/unrevoke', 'agent-01'),
  },
  {
    call: 'validate',
    when: 'a restored device',
    deviceId: 'agent-01',
    documented: `2xx, ${VALIDATE}`,
    statusCode: 200,
    answer: decided('ALLOW'),
  },
  {
    call: 'restore',
    when: 'the alias, after another revoke',
    first: ({ sdk }) => sdk.revoke('agent-01'),
    deviceId: 'agent-01',
    documented: 'the same call as unrevoke',
    statusCode: 200,
    answer: changed('devices/unrevoke', 'agent-01'),
  },
  {
    call: 'register',
    when: 'at the cap',
    first: ({ sdk }) => sdk.register('agent-03'),
    deviceId: 'agent-99',
    documented: '403 `blocked`, `device_limit_reached`; used 3, remaining 0, overLimit',
    statusCode: 403,
    answer: refused('device_limit_reached', {
      status: z.literal('blocked'),
      handler: z.literal('devices/register'),
      deviceId: z.literal('agent-99'),
      ...used(3, true),
    }),
  },
  {
    call: 'register',
    when: 'a known device at the cap',
    deviceId: 'agent-03',
    documented: '`exists`',
    statusCode: 200,
    answer: registered('exists', 'agent-03', 3),
  },
  {
    call: 'validate',
    when: 'a known device at the cap',
    deviceId: 'agent-03',
    documented: 'existing devices keep validating',
    statusCode: 200,
    answer: decided('ALLOW'),
  },
  {
    call: 'usage',
    when: 'a full free plan',
    documented: 'planTier, plan state, access clock, limit, counts',
    statusCode: 200,
    answer: z.looseObject(used(3)),
  },
  {
    call: 'remove',
    when: 'an active device',
    deviceId: 'agent-03',
    documented: 'hard-delete; body not documented',
    statusCode: 200,
    answer: changed('devices/remove', 'agent-03'),
  },
  {
    call: 'validate',
    when: 'a removed device',
    deviceId: 'agent-03',
    documented: 'not documented (ours)',
    statusCode: 200,
    answer: decided('DEVICE_REMOVED'),
  },
  {
    call: 'register',
    when: 'a removed device',
    deviceId: 'agent-03',
    documented: 'not documented; ours keeps a tombstone, so it cannot register itself back',
    statusCode: 403,
    answer: refused('device_removed', used(2)),
  },
  {
    call: 'listDevices',
    when: 'after a remove',
    documented: 'the removed one is gone',
    statusCode: 200,
    answer: listed({ 'agent-01': 'active', 'agent-02': 'active' }),
  },
  {
    call: 'register',
    when: 'another device in its place',
    deviceId: 'agent-04',
    documented: 'free up space and it goes on: `ok`, used 3',
    statusCode: 200,
    answer: registered('ok', 'agent-04', 3),
  },
  ...(['revoke', 'unrevoke', 'remove'] as const).map((call): Step => ({
    call,
    when: 'an unknown device',
    deviceId: 'agent-77',
    documented: `not documented (ours); ${ANY_ERROR}`,
    statusCode: 404,
    answer: refused('device_not_registered'),
  })),
  {
    call: 'validate',
    when: 'an ID outside our grammar',
    deviceId: 'agent 01',
    documented: 'charset not documented (ours)',
    statusCode: 400,
    answer: refused('device_id_invalid'),
  },
  {
    call: 'validate',
    when: 'the org disabled',
    first: ({ authority, orgKey }) => authority.post('/api/v1/org/disable', {}, orgKey),
    deviceId: 'agent-01',
    documented: 'denied for all; the code is not documented (ours)',
    statusCode: 200,
    answer: decided('ORG_DISABLED'),
  },
  {
    call: 'listDevices',
    when: 'the org disabled',
    documented: 'device states are untouched',
    statusCode: 200,
    answer: listed({ 'agent-01': 'active', 'agent-02': 'active', 'agent-04': 'active' }),
  },
  {
    call: 'validate',
    when: 'the org enabled again',
    first: async ({ authority, orgKey }) => {
      const { body } = await authority.get('/api/v1/usage', orgKey)
      return authority.post('/api/v1/org/enable', { ifEpoch: body.org.epoch }, orgKey)
    },
    deviceId: 'agent-01',
    documented: `2xx, ${VALIDATE}`,
    statusCode: 200,
    answer: decided('ALLOW'),
  },
  {
    call: 'validate',
    when: 'the plan frozen',
    first: (others) => setPlan(others, 'frozen'),
    deviceId: 'agent-01',
    documented: '`PLAN_NOT_ACTIVE` (once `PLAN_FROZEN`)',
    statusCode: 200,
    answer: decided('PLAN_NOT_ACTIVE'),
  },
  {
    call: 'validate',
    when: 'the plan active again',
    first: (others) => setPlan(others, 'active'),
    deviceId: 'agent-01',
    documented: `2xx, ${VALIDATE}`,
    statusCode: 200,
    answer: decided('ALLOW'),
  },
]

/** The same call with a key that is no good. */
export const BAD_KEY: readonly Step[] = (['register', 'validate', 'usage', 'revoke'] as const).map(
  (call) => ({
    call,
    when: 'an unknown key',
    ...(call !== 'usage' && { deviceId: 'agent-01' }),
    documented: `not documented (ours); ${ANY_ERROR}`,
    statusCode: 401,
    answer: refused('key_invalid'),
  }),
)
