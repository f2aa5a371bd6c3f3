import { z } from 'zod'
import { deviceIdProblem } from '../guard/device.ts'

// The HTTP contract between client and authority, in one place: the control plane parses requests with these
// schemas and the client knows the answers by them. Bodies are supersets of MachineID's.

/** The header that carries the key, on every call. Never in a query string. */
export const KEY_HEADER = 'x-org-key'
/** The largest body either side reads, in bytes. */
export const MAX_BODY_BYTES = 16 * 1024
export const MAX_BATCH_DEVICES = 16

export const PATHS = {
  orgCreate: '/api/v1/org/create',
  orgDisable: '/api/v1/org/disable',
  orgEnable: '/api/v1/org/enable',
  orgPlan: '/api/v1/org/plan',
  register: '/api/v1/devices/register',
  validate: '/api/v1/devices/validate',
  validateBatch: '/api/v1/devices/validate_batch',
  list: '/api/v1/devices/list',
  revoke: '/api/v1/devices/revoke',
  unrevoke: '/api/v1/devices/unrevoke',
  remove: '/api/v1/devices/remove',
  usage: '/api/v1/usage',
} as const

export const KEY_KINDS = ['runtime', 'viewer', 'stop', 'operator', 'admin', 'full'] as const
export type KeyKind = (typeof KEY_KINDS)[number]

/** Why a device or org is denied, in the order in which the authority looks. */
export const AUTHORITY_DENIAL_CODES = [
  'ORG_DISABLED',
  'PLAN_NOT_ACTIVE',
  'DEVICE_NOT_REGISTERED',
  'DEVICE_REMOVED',
  'DEVICE_REVOKED',
  'DEVICE_LOCKED',
  'DEVICE_OVER_LIMIT',
] as const
export type AuthorityDenialCode = (typeof AUTHORITY_DENIAL_CODES)[number]

export const PLAN_LIMITS = { free: 3, pro: 25, scale: 250, max: 1000 } as const
export type PlanTier = keyof typeof PLAN_LIMITS | 'custom'

/** `a, b or c`. */
export function orList(words: Iterable<string>): string {
  return new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(words)
}

// The messages of the requests' schemas follow the name of the field: "reason" must be …

const must = (expected: string) => ({ error: `must be ${expected}` })

function text(minLength: number, maxLength: number) {
  const error = must(
    minLength === 0
      ? `a string of at most ${maxLength} characters`
      : `a string of ${minLength} to ${maxLength} characters`,
  )
  return z.string(error).min(minLength, error).max(maxLength, error)
}

function choice<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, must(orList(values)))
}

const deviceId = z.string().superRefine((value, context) => {
  const problem = deviceIdProblem(value)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})
const EPOCH = must('an epoch: a whole number, 0 or above')
const epoch = z.number(EPOCH).int(EPOCH).nonnegative(EPOCH)
const reason = text(1, 500)
const nonce = text(16, 128)
const label = text(0, 256)

/** Codes and request IDs reach logs and models as the authority gave them, so neither can be a sentence. */
export const DECISION_CODE = /^[A-Z][A-Z0-9_]{0,63}$/
export const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/
const decisionCode = z.string().regex(DECISION_CODE)
const requestId = z.string().regex(REQUEST_ID)

/** Where a question comes from; each field at most 256 characters, for the record only. */
const ValidateContext = z.object(
  {
    boundary: label.optional(),
    tool: label.optional(),
    callId: label.optional(),
    runId: label.optional(),
    replica: label.optional(),
  },
  must('an object'),
)
const LABELS = must('an object of strings: names of at most 64 characters, values of at most 256')

export const RegisterRequest = z.object({
  deviceId,
  labels: z.record(z.string(LABELS).max(64, LABELS), z.string(LABELS).max(256, LABELS), LABELS).optional(),
  context: ValidateContext.optional(),
  /** Brings a removed ID back, only with the epoch of its removal. Not for runtime keys. */
  restoreRemoved: z.literal(true, must('true, or left out')).optional(),
  ifEpoch: epoch.optional(),
})
export const ValidateRequest = z.object({
  deviceId,
  nonce: nonce.optional(),
  context: ValidateContext.optional(),
})
export const ValidateBatchRequest = z.object({
  deviceIds: z.array(deviceId).min(1).max(MAX_BATCH_DEVICES),
  nonce,
  context: ValidateContext.optional(),
})
const PAGE = must('a whole number from 1 to 1000')
const CURSOR = must('the nextCursor of the page before')
export const ListQuery = z.object({
  /** Without it all devices come in one answer. */
  limit: z.coerce.number(PAGE).int(PAGE).min(1, PAGE).max(1000, PAGE).optional(),
  /** The `nextCursor` of the page before. */
  cursor: z.string(CURSOR).max(256, CURSOR).optional(),
})
export const RevokeRequest = z.object({ deviceId, reason: reason.optional() })
export const UnrevokeRequest = z.object({ deviceId, ifEpoch: epoch.optional(), reason: reason.optional() })
export const RemoveRequest = z.object({ deviceId, reason: reason.optional() })
export const OrgDisableRequest = z.object({ reason: reason.optional() })
export const OrgEnableRequest = z.object({ ifEpoch: epoch.optional(), reason: reason.optional() })
const KINDS = must(`a list of kinds of keys, each ${orList(KEY_KINDS)}`)
export const OrgCreateRequest = z.object({
  email: z.email(must('an email address, for example ops@example.com')).optional(),
  kinds: z.array(z.enum(KEY_KINDS, KINDS), KINDS).optional(),
})
const LIMIT = must('a whole number from 0 to 10000000')
export const OrgPlanRequest = z
  .object({
    orgId: text(1, 64),
    tier: choice(['free', 'pro', 'scale', 'max', 'custom']),
    /** Required with tier `custom`, not allowed with the others. */
    limit: z.number(LIMIT).int(LIMIT).min(0, LIMIT).max(10_000_000, LIMIT).optional(),
    state: choice(['active', 'frozen', 'unpaid']).optional(),
  })
  .refine((plan) => (plan.tier === 'custom') === (plan.limit !== undefined), {
    message: 'Give "limit" with tier "custom", and only then.',
  })

export const PlanFields = z.object({
  planTier: z.string(),
  planState: z.string(),
  accessUntil: z.string().nullable(),
  limit: z.number().int(),
  devicesUsed: z.number().int(),
  remaining: z.number().int(),
  overLimit: z.boolean(),
  softGraceWindow: z.boolean(),
})

export const RegisterResponse = PlanFields.extend({
  /** `ok` when new, `exists` when it was there. */
  status: z.string(),
  handler: z.string(),
  deviceId: z.string(),
  orgId: z.string().optional(),
  epoch: epoch.optional(),
  orgEpoch: epoch.optional(),
  request_id: z.string().optional(),
  /** What denies the device all the same, such as a revoke that a removed device had and keeps. */
  stillDeniedBy: z.array(z.string()).optional(),
})

export const ValidateResponse = z.object({
  allowed: z.boolean(),
  code: decisionCode,
  request_id: requestId,
  deviceId: z.string(),
  orgId: z.string().min(1),
  orgEpoch: epoch,
  epoch,
  nonce: z.string().nullable(),
  /** MachineID's legacy fields. */
  status: z.string(),
  reason: z.string(),
  handler: z.string(),
})

export const ValidateBatchResponse = z.object({
  orgId: z.string().min(1),
  orgEpoch: epoch,
  nonce: z.string(),
  request_id: requestId,
  decisions: z.array(z.object({ deviceId: z.string(), allowed: z.boolean(), code: decisionCode, epoch })),
})

/** `epoch` is that of the device's own last stop or restore: what `ifEpoch` is compared with. */
const DeviceRow = z.object({
  deviceId: z.string(),
  status: z.enum(['active', 'revoked']),
  revoked: z.boolean(),
  epoch,
  slot: z.number().int().nullable(),
  overLimit: z.boolean(),
  reason: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  createdAt: z.string(),
  changedAt: z.string(),
})
export const ListResponse = z.object({
  status: z.literal('ok'),
  handler: z.string(),
  orgId: z.string(),
  orgEpoch: epoch,
  devices: z.array(DeviceRow),
  nextCursor: z.string().nullable(),
})

export const UsageResponse = PlanFields.extend({
  status: z.literal('ok'),
  handler: z.string(),
  orgId: z.string(),
  orgEpoch: epoch,
  revoked: z.number().int(),
  org: z.object({
    disabled: z.boolean(),
    epoch,
    by: z.string().nullable(),
    reason: z.string().nullable(),
    since: z.string().nullable(),
  }),
})

export const OrgCreateResponse = z.object({
  status: z.literal('ok'),
  handler: z.string(),
  orgId: z.string(),
  /** A `full` key, shown once. */
  orgApiKey: z.string(),
  /** The `kinds` that were asked for. */
  keys: z.partialRecord(z.enum(KEY_KINDS), z.string()).optional(),
})

export const OrgPlanResponse = PlanFields.extend({
  status: z.literal('ok'),
  handler: z.string(),
  orgId: z.string(),
})

/** The answer to every stop and restore: 2xx only after the change is durable (G5). */
export const ChangeResponse = z.object({
  status: z.literal('ok'),
  handler: z.string(),
  orgId: z.string(),
  deviceId: z.string().optional(),
  epoch,
  orgEpoch: epoch,
  request_id: z.string(),
  /** After a restore: what still denies the device all the same. */
  stillDeniedBy: z.array(z.string()).optional(),
})

/** Every error over HTTP. `error` is MachineID's lower-case word for `code`. */
export const ErrorResponse = z.object({
  status: z.string(),
  error: z.string(),
  code: z.string(),
  message: z.string(),
  request_id: z.string(),
  handler: z.string().optional(),
  /** With 409: the epoch to look at before trying again. */
  epoch: epoch.optional(),
})
