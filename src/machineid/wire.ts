import { z } from 'zod'

// The HTTP contract between client and authority, in one place (wire*.ts): the control plane parses requests with
// these schemas, the client knows the answers by them, and openapi.json is made of them. Bodies are supersets of
// MachineID's.

/** The header that carries the key, on every call. Never in a query string. */
export const KEY_HEADER = 'x-org-key'
/** The largest body either side reads, in bytes. */
export const MAX_BODY_BYTES = 16 * 1024
/** The largest body of a call on many devices, in bytes. */
export const MAX_BATCH_BODY_BYTES = 256 * 1024
/** Of one question. */
export const MAX_BATCH_DEVICES = 16
/** Of one list of changes. */
export const MAX_CHANGED_DEVICES = 1000

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

/** Codes and request IDs reach logs and models as the authority gave them, so neither can be a sentence. */
export const DECISION_CODE = /^[A-Z][A-Z0-9_]{0,63}$/
export const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/
export const decisionCode = z.string().regex(DECISION_CODE)
export const requestId = z.string().regex(REQUEST_ID)

/** Every error over HTTP. `error` is MachineID's lower-case word for `code`. */
export const ErrorResponse = z.object({
  status: z.string(),
  error: z.string(),
  code: z.string(),
  message: z.string(),
  request_id: z.string(),
  handler: z.string().optional(),
  /** With 409 and 428: the epoch to look at before trying again. */
  epoch: z.number().int().nonnegative().optional(),
  /** With 429 and 503: how long to wait. */
  retryAfterSeconds: z.number().int().positive().optional(),
})
