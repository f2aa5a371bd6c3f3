import { z } from 'zod'

import { choice, devicePattern, epoch, okFields, reason, remindAfterSeconds } from './wire-fields.ts'

export const LockRequest = z.object({
  pattern: devicePattern,
  reason,
  remindAfterSeconds: remindAfterSeconds.optional(),
})
export const LocksQuery = z.object({
  /** With `true` the released ones too. */
  all: choice(['true', 'false']).optional(),
})
export const LockReleaseRequest = z.object({ ifEpoch: epoch.optional(), reason: reason.optional() })

/** Locking a pattern that is locked is a new stop of the same lock: its epoch is raised. */
export const LockResponse = z.object({
  ...okFields,
  orgId: z.string(),
  lockId: z.string(),
  pattern: z.string(),
  active: z.boolean(),
  epoch,
  orgEpoch: epoch,
})
export const LockListResponse = z.object({
  ...okFields,
  orgId: z.string(),
  orgEpoch: epoch,
  locks: z.array(
    z.object({
      lockId: z.string(),
      pattern: z.string(),
      active: z.boolean(),
      epoch,
      reason: z.string(),
      by: z.string(),
      remindAt: z.string().nullable(),
      overdue: z.boolean(),
      createdAt: z.string(),
      changedAt: z.string(),
    }),
  ),
})
