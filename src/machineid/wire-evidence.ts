import { z } from 'zod'

import {
  choice,
  cursor,
  devicePattern,
  epoch,
  nextCursor,
  okFields,
  pageLimit,
  text,
  time,
  timeGiven,
  wholeNumberText,
} from './wire-fields.ts'

/** What a filter of decisions may name; all that are given must fit. */
const decisionFilter = {
  device: devicePattern.optional(),
  code: text(1, 64).optional(),
  boundary: text(1, 256).optional(),
  allowed: choice(['true', 'false']).optional(),
}
export const DecisionsQuery = z.object({
  request_id: text(1, 128).optional(),
  ...decisionFilter,
  from: timeGiven.optional(),
  to: timeGiven.optional(),
  limit: pageLimit.optional(),
  cursor: cursor.optional(),
})
export const FEED_TYPES = ['decision', 'change', 'overdue'] as const
export const FeedQuery = z.object({
  /** Some of `decision`, `change`, `overdue`, with commas. Default: all. */
  types: text(1, 64).optional(),
  ...decisionFilter,
})
export const AuditQuery = z.object({
  /** The `seq` of the last row seen. Default 0: from the first. */
  after: wholeNumberText(0, Number.MAX_SAFE_INTEGER).optional(),
  /** Newest first, from the first row below this `seq`; `newest` alone begins with the last. Goes not with `after`. */
  before: wholeNumberText(1, Number.MAX_SAFE_INTEGER).optional(),
  order: choice(['oldest', 'newest']).optional(),
  /** A filter of pages: an action such as `device.revoke`, or a group such as `device`. */
  action: text(1, 64).optional(),
  /** A device ID or pattern. */
  device: devicePattern.optional(),
  /** A key id, an owner, `platform`, `recovery` or `local`. */
  actor: text(1, 256).optional(),
  from: timeGiven.optional(),
  to: timeGiven.optional(),
  limit: pageLimit.optional(),
  /** `jsonl` exports the whole chain after `after`, one row a line; `csv` the same for a spreadsheet. */
  format: choice(['json', 'jsonl', 'csv']).optional(),
})
export const DecisionRatesQuery = z.object({})
/** How many decisions this control plane made in each of the last 60 minutes, whether stored or not. */
export const DecisionRatesResponse = z.object({
  ...okFields,
  orgId: z.string(),
  /** It has counted since then: its start, or an hour ago. */
  since: time,
  /** Oldest first; minutes without a decision are left out. The last one is not over yet. */
  minutes: z.array(
    z.object({
      at: time,
      counts: z.array(
        z.object({ boundary: z.string().nullable(), allowed: z.boolean(), count: z.number().int() }),
      ),
    }),
  ),
})
export const AuditVerifyQuery = z.object({
  /** A row that was noted elsewhere, such as in a log: the chain must still have it. */
  seq: wholeNumberText(1, Number.MAX_SAFE_INTEGER).optional(),
  hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/, { error: 'must be the hash of that row: 64 characters of 0-9 a-f' })
    .optional(),
})

export const DecisionRow = z.object({
  request_id: z.string(),
  deviceId: z.string(),
  allowed: z.boolean(),
  code: z.string(),
  asked: z.enum(['validate', 'register']),
  boundary: z.string().nullable(),
  tool: z.string().nullable(),
  callId: z.string().nullable(),
  runId: z.string().nullable(),
  replica: z.string().nullable(),
  keyId: z.string(),
  at: time,
})
export const AuditRowBody = z.object({
  orgId: z.string(),
  seq: z.number().int(),
  id: z.string(),
  at: time,
  actor: z.string(),
  actorKind: z.string().nullable(),
  requestId: z.string().nullable(),
  origin: z.string().nullable(),
  action: z.string(),
  deviceId: z.string().nullable(),
  reason: z.string().nullable(),
  before: z.unknown(),
  after: z.unknown(),
  prevHash: z.string(),
  hash: z.string(),
})
/** With `request_id`, each decision says why it was denied, what holds now, and what can be done. */
export const DecisionsResponse = z.object({
  ...okFields,
  orgId: z.string(),
  decisions: z.array(
    DecisionRow.extend({
      explanation: z
        .object({
          why: z.string(),
          /** Who stopped it, when and why, where a stop is the reason. */
          stop: z
            .object({
              action: z.string(),
              by: z.string(),
              at: time,
              reason: z.string().nullable(),
              epoch: epoch.nullable(),
            })
            .nullable(),
          /** What a validate would answer now. */
          now: z.string(),
          next: z.array(z.string()),
        })
        .optional(),
    }),
  ),
  nextCursor,
  /** Where there is none: what that may mean. */
  note: z.string().optional(),
})
export const AuditResponse = z.object({
  ...okFields,
  orgId: z.string(),
  rows: z.array(AuditRowBody),
  /** For `after`; null at the end, and newest first. */
  nextAfter: z.number().int().nullable(),
  /** For `before`, newest first; null at the end. */
  nextBefore: z.number().int().nullable(),
})
export const AuditVerifyResponse = z.object({
  ...okFields,
  orgId: z.string(),
  intact: z.boolean(),
  rows: z.number().int(),
  /** The last row, to note elsewhere. */
  head: z.object({ seq: z.number().int(), hash: z.string() }).nullable(),
  /** `id` is null where the row is missing. */
  firstBroken: z.object({ seq: z.number().int(), id: z.string().nullable(), problem: z.string() }).nullable(),
})
/** The `data` of one event of the feed; its `event` is the `type`. */
export const FeedEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('decision'), decision: DecisionRow }),
  z.object({ type: z.literal('change'), row: AuditRowBody }),
  z.object({
    type: z.literal('overdue'),
    deviceId: z.string().nullable(),
    lockId: z.string().nullable(),
    pattern: z.string().nullable(),
    reason: z.string().nullable(),
    epoch,
    remindAt: time,
  }),
  /** After a resume: more happened since `since` than is repeated here. */
  z.object({ type: z.literal('missed'), since: time, message: z.string() }),
])
export type FeedEventBody = z.infer<typeof FeedEvent>
