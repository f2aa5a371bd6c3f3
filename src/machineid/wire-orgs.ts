import { z } from 'zod'

import { choice, epoch, must, okFields, reason, text, timeGiven, wholeNumber } from './wire-fields.ts'
import { KEY_KINDS, orList } from './wire.ts'

const EMAIL = must('an email address, for example ops@example.com')
/** Compared without regard to case. */
export const email = z.email(EMAIL).max(254, EMAIL).toLowerCase()

export const OrgDisableRequest = z.object({ reason: reason.optional() })
export const OrgEnableRequest = z.object({ ifEpoch: epoch.optional(), reason: reason.optional() })
const KIND = must(orList(KEY_KINDS))
const KINDS = must(`a list of kinds of keys, each ${orList(KEY_KINDS)}`)
export const OrgCreateRequest = z.object({
  /** The first owner: whom recovery mails to. */
  email: email.optional(),
  kinds: z.array(z.enum(KEY_KINDS, KIND), KINDS).optional(),
})
export const OrgPlanRequest = z
  .object({
    orgId: text(1, 64),
    tier: choice(['free', 'pro', 'scale', 'max', 'custom']),
    /** Required with tier `custom`, not allowed with the others. */
    limit: wholeNumber(0, 10_000_000).optional(),
    /** Default `active`. */
    state: choice(['active', 'canceled', 'frozen', 'unpaid']).optional(),
    /** When a canceled plan ends: the org is then `free`, with 3 devices. */
    accessUntil: timeGiven.optional(),
  })
  .refine((plan) => (plan.tier === 'custom') === (plan.limit !== undefined), {
    message: 'Give "limit" with tier "custom", and only then.',
  })
  .refine((plan) => (plan.state === 'canceled') === (plan.accessUntil !== undefined), {
    message: 'Give "accessUntil" with state "canceled", and only then.',
  })
const EMAILS = must('a list of 1 to 20 email addresses')
const emails = z.array(email, EMAILS).min(1, EMAILS).max(20, EMAILS).optional()
export const OwnersRequest = z
  .object({ add: emails, remove: emails })
  .refine(({ add, remove }) => add !== undefined || remove !== undefined, {
    message: 'Give "add", "remove" or both, each a list of email addresses.',
  })
export const RecoverRequest = z.object({ email })
export const RecoverConfirmRequest = z.object({ token: text(1, 256) })

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
export const UsageResponse = PlanFields.extend({
  ...okFields,
  orgId: z.string(),
  orgEpoch: epoch,
  revoked: z.number().int(),
  /** Active locks. */
  locks: z.number().int(),
  /** Revoked devices and locks whose reminder has passed. */
  overdue: z.number().int(),
  org: z.object({
    disabled: z.boolean(),
    epoch,
    by: z.string().nullable(),
    reason: z.string().nullable(),
    since: z.string().nullable(),
  }),
})
export const OrgCreateResponse = z.object({
  ...okFields,
  orgId: z.string(),
  /** A `full` key, shown once. */
  orgApiKey: z.string(),
  /** The `kinds` that were asked for. */
  keys: z.partialRecord(z.enum(KEY_KINDS), z.string()).optional(),
})
export const OrgPlanResponse = PlanFields.extend({ ...okFields, orgId: z.string() })
export const OwnersResponse = z.object({ ...okFields, orgId: z.string(), owners: z.array(z.string()) })
/** The same whether the address belongs to anybody or not. */
export const RecoverResponse = z.object({ ...okFields, message: z.string() })
/** A new `admin` key, shown once. */
export const RecoverConfirmResponse = z.object({
  ...okFields,
  orgId: z.string(),
  keyId: z.string(),
  key: z.string(),
  kind: z.literal('admin'),
})
