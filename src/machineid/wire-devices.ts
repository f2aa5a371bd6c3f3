import { z } from 'zod'

import { redact } from '../redact.ts'
import {
  choice,
  cursor,
  deviceId,
  devicePattern,
  epoch,
  isStorable,
  must,
  nextCursor,
  nonce,
  okFields,
  pageLimit,
  reason,
  remindAfterSeconds,
  text,
  ValidateContext,
} from './wire-fields.ts'
import { PlanFields } from './wire-orgs.ts'
import { decisionCode, ErrorResponse, MAX_BATCH_DEVICES, MAX_CHANGED_DEVICES, requestId } from './wire.ts'

const LABELS = must('an object of strings: names of 1 to 64 characters, values of at most 256')
const labelValue = z.string(LABELS).max(256, LABELS).refine(isStorable, LABELS).overwrite(redact)
/** zod would leave a name `__proto__` out without a word: it is refused. */
const labels = z.preprocess(
  (given) =>
    typeof given === 'object' && given !== null && Object.hasOwn(given, '__proto__') ? null : given,
  z.record(text(1, 64), labelValue, LABELS),
)

export const RegisterRequest = z.object({
  deviceId,
  labels: labels.optional(),
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
export const ListQuery = z.object({
  /** Without it all devices come in one answer. */
  limit: pageLimit.optional(),
  /** The `nextCursor` of the page before. */
  cursor: cursor.optional(),
})
export const RevokeRequest = z.object({
  deviceId,
  reason: reason.optional(),
  remindAfterSeconds: remindAfterSeconds.optional(),
})
export const UnrevokeRequest = z.object({ deviceId, ifEpoch: epoch.optional(), reason: reason.optional() })
export const RemoveRequest = z.object({ deviceId, reason: reason.optional() })

const SOME = must(`a list of 1 to ${MAX_CHANGED_DEVICES} device IDs`)
const ITEMS = must(`a list of 1 to ${MAX_CHANGED_DEVICES} objects {deviceId, ifEpoch}`)
const ITEM = must('an object {deviceId, ifEpoch}')
const LABEL = must('an object {name, value} of strings')
/** Exactly one of `deviceIds`, `pattern` and `label` says which devices. */
export const RevokeBatchRequest = z
  .object({
    deviceIds: z.array(deviceId, SOME).min(1, SOME).max(MAX_CHANGED_DEVICES, SOME).optional(),
    pattern: devicePattern.optional(),
    label: z.object({ name: text(1, 64), value: text(0, 256) }, LABEL).optional(),
    reason: reason.optional(),
    remindAfterSeconds: remindAfterSeconds.optional(),
  })
  .refine(({ deviceIds, pattern, label }) => [deviceIds, pattern, label].filter(Boolean).length === 1, {
    message: 'Give exactly one of "deviceIds", "pattern" and "label".',
  })
export const UnrevokeBatchRequest = z.object({
  items: z
    .array(z.object({ deviceId, ifEpoch: epoch.optional() }, ITEM), ITEMS)
    .min(1, ITEMS)
    .max(MAX_CHANGED_DEVICES, ITEMS),
  reason: reason.optional(),
})

/** Without `restored`, what `register` of early MachineID answered too. */
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
/** A device that is refused is told the plan too. `status` is `blocked` when the plan has no room for it. */
export const RegisterRefused = ErrorResponse.extend({
  ...PlanFields.partial().shape,
  deviceId: z.string().optional(),
  orgId: z.string().optional(),
  orgEpoch: epoch.optional(),
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
  status: choice(['active', 'revoked']),
  revoked: z.boolean(),
  /** An active lock matches it. */
  locked: z.boolean(),
  epoch,
  slot: z.number().int().nullable(),
  overLimit: z.boolean(),
  reason: z.string().nullable(),
  /** When its stop becomes overdue, and whether it is. */
  remindAt: z.string().nullable(),
  overdue: z.boolean(),
  labels: z.record(z.string(), z.string()),
  createdAt: z.string(),
  changedAt: z.string(),
  /** What it was last told, and the id of the key that asked. */
  lastSeen: z.object({ at: z.string(), code: z.string(), keyId: z.string() }).nullable(),
})
export const ListResponse = z.object({
  ...okFields,
  orgId: z.string(),
  orgEpoch: epoch,
  devices: z.array(DeviceRow),
  nextCursor,
})

/** The answer to every stop and restore: 2xx only after the change is durable (G5). */
export const ChangeResponse = z.object({
  ...okFields,
  orgId: z.string(),
  deviceId: z.string().optional(),
  epoch,
  orgEpoch: epoch,
  /** After a restore: what still denies the device all the same. */
  stillDeniedBy: z.array(z.string()).optional(),
})

/** `results` in the order that was asked, else in byte order. Those that are not `ok` were left as they are. */
export const ChangeBatchResponse = z.object({
  ...okFields,
  orgId: z.string(),
  orgEpoch: epoch,
  /** How many of `results` are `ok`. They all have the same new epoch. */
  changed: z.number().int(),
  results: z.array(
    z.object({
      deviceId: z.string(),
      ok: z.boolean(),
      /** Why not: `DEVICE_NOT_REGISTERED`, `EPOCH_STALE`, `EPOCH_REQUIRED`. */
      code: z.string().optional(),
      epoch,
      stillDeniedBy: z.array(z.string()).optional(),
    }),
  ),
})

/** What `?preview=true` answers: nothing was changed. */
export const PreviewResponse = z.object({
  ...okFields,
  preview: z.literal(true),
  orgId: z.string(),
  orgEpoch: epoch,
  /** How many devices it is about; `devices` names the first 1,000 of them. */
  deviceCount: z.number().int(),
  truncated: z.boolean(),
  /** Of the named devices, those that are allowed now and would be denied. */
  hits: z.number().int(),
  /** What a validate answers now, and what it would answer. */
  devices: z.array(z.object({ deviceId: z.string(), now: z.string(), then: z.string() })),
})
