import { z } from 'zod'

import { ErrorResponse } from './wire.ts'
import {
  choice,
  cursor,
  deviceId,
  epoch,
  must,
  nextCursor,
  okFields,
  pageLimit,
  text,
  time,
  timeGiven,
} from './wire-fields.ts'

// The desk where people decide on calls that wait. Tool servers bring what waits and ask what was decided.

/** The canonical JSON of one call's arguments, in bytes. */
export const MAX_ARGUMENTS_BYTES = 128 * 1024
/** Of one request. */
export const MAX_APPROVALS = 50
/** The largest body that brings approvals, in bytes. */
export const MAX_APPROVALS_BODY_BYTES = 256 * 1024

const DIGEST = must('a SHA-256 in hex')
const digest = z.string(DIGEST).regex(/^[0-9a-f]{64}$/, DIGEST)
const name = text(1, 256)
const approvalId = text(1, 128).regex(/^[A-Za-z0-9._:-]+$/, { error: 'must be of A-Z a-z 0-9 . _ : -' })

const Asked = z.object({
  approvalId,
  runId: name,
  agent: name,
  /** Who started the run, as the tool server knows them. */
  caller: name,
  callId: text(1, 512),
  tool: name,
  surface: name,
  /** The devices that the call's hold points ask for: the server's first. The key must be good for each. */
  deviceIds: z.array(deviceId).min(1).max(16),
  /** What it is bound to. */
  digest,
  schemaDigest: digest,
  /** The arguments that will run, as canonical JSON; `digest` is theirs, and is checked. */
  argumentsJson: text(1, MAX_ARGUMENTS_BYTES),
  expiresAt: timeGiven,
})
export type AskedApproval = z.infer<typeof Asked>
/** Asking again for an id that is there changes nothing. */
export const ApprovalsAskRequest = z.object({ approvals: z.array(Asked).min(1).max(MAX_APPROVALS) })
export const ApprovalsAskResponse = z.object({ ...okFields, orgId: z.string(), added: z.number().int() })
export const ApprovalsWithdrawRequest = z.object({
  approvalIds: z.array(approvalId).min(1).max(MAX_APPROVALS),
})
export const ApprovalsWithdrawResponse = z.object({
  ...okFields,
  orgId: z.string(),
  withdrawn: z.number().int(),
})

/** `withdrawn`: its call no longer waits, whatever became of it. */
export const APPROVAL_STATES = ['waiting', 'approved', 'declined', 'expired', 'withdrawn'] as const
export const ApprovalRow = Asked.extend({
  expiresAt: time,
  state: z.enum(APPROVAL_STATES),
  askedAt: time,
  decidedAt: time.nullable(),
  /** The key, or the owner, who decided. */
  decidedBy: z.string().nullable(),
  /** With a decline: what the model is told. */
  message: z.string().nullable(),
  /** What a validate of each of its devices would answer now. */
  devices: z.array(z.object({ deviceId: z.string(), code: z.string() })),
})
export type ApprovalBody = z.infer<typeof ApprovalRow>
export const ApprovalsQuery = z.object({
  /** Default: all. */
  state: choice(APPROVAL_STATES).optional(),
  runId: name.optional(),
  /** Some of them, with commas between: what a tool server asks about. */
  ids: text(1, 8192).optional(),
  limit: pageLimit.optional(),
  cursor: cursor.optional(),
})
/** Those that wait come first to expire first, all others newest first. A runtime key gets those of its devices. */
export const ApprovalsResponse = z.object({
  ...okFields,
  orgId: z.string(),
  orgEpoch: epoch,
  approvals: z.array(ApprovalRow),
  /** How many wait, of the whole org. */
  waiting: z.number().int(),
  nextCursor,
})
export const ApprovalQuery = z.object({})
export const ApprovalResponse = z.object({
  ...okFields,
  orgId: z.string(),
  orgEpoch: epoch,
  approval: ApprovalRow,
})
/** A decision that is refused since there was one says which. */
export const ApprovalRefused = ErrorResponse.extend({
  state: z.enum(APPROVAL_STATES).optional(),
  decidedBy: z.string().nullable().optional(),
  decidedAt: time.nullable().optional(),
})
export const ApprovalDecideRequest = z
  .object({
    /** Of the arguments that were shown. */
    digest,
    approve: z.boolean(must('true or false')),
    message: text(1, 2000).optional(),
    /** The org's epoch when it was shown: with a newer one an approval is refused as stale. */
    ifEpoch: epoch.optional(),
  })
  .refine(({ approve, message }) => !approve || message === undefined, {
    message: 'Only a decline takes a "message": the model is told it.',
  })
