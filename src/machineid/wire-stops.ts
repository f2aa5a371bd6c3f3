import { z } from 'zod'

import { deviceIdProblem } from '../guard/device.ts'
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
  wholeNumber,
} from './wire-fields.ts'
import { KEY_KINDS } from './wire.ts'

// The stream of stops, and what comes back of it: who listens, and what became of the work that each stop found.

/** Of one replica. */
export const MAX_STREAM_DEVICES = 64
/** Calls of one stop that are told one by one. */
export const MAX_TOLD_CALLS = 100
const MAX_ACKS = 100

/** Names one process, not a device: two processes that share a device must have two names. */
const replica = text(1, 256)
const DEVICES = must(`1 to ${MAX_STREAM_DEVICES} device IDs with commas between`)
export const StopsQuery = z.object({
  replica,
  devices: z
    .string(DEVICES)
    .transform((list) => [...new Set(list.split(','))])
    .refine((ids) => ids.length <= MAX_STREAM_DEVICES, DEVICES)
    .refine((ids) => ids.every((id) => deviceIdProblem(id) === undefined), DEVICES),
  /** An epoch: stops after it are told first. The header `last-event-id` goes before it. Default: none are. */
  after: z.coerce.number(must('an epoch')).int().nonnegative().optional(),
})

/**
 * The `data` of one event; its `event` is the `type`. Deny only: nothing here ever allows anything. The `id` of `stop`
 * and `current` is their epoch, for `last-event-id`.
 */
export const StopEvent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('hello'),
    orgId: z.string().min(1),
    /** How often a silent stream shows that it lives. */
    heartbeatMs: z.number().int().positive(),
    /** What kind of key opened it, so that a process can say that its key is too mighty. */
    keyKind: z.enum(KEY_KINDS),
  }),
  z.object({
    type: z.literal('stop'),
    epoch,
    /** Those of the stream's devices that it stops. */
    deviceIds: z.array(z.string()).min(1),
    /** For example `device.revoke`, `lock.add`, `org.disable`. */
    action: z.string(),
    /** About how long to wait with the acknowledgement: so that thousands do not answer while others are being told. */
    ackAfterMs: z.number().int().min(0).max(10_000).optional(),
  }),
  /** Everything up to this epoch has been told. */
  z.object({ type: z.literal('current'), epoch }),
  /** The key that opened the stream is burned. The stream ends with it. */
  z.object({ type: z.literal('key_cut'), epoch }),
])
export type StopEventBody = z.infer<typeof StopEvent>

const count = wholeNumber(0, 1_000_000)
/** What became of the calls that a stop found in flight. */
const CALL_ENDS = ['aborted', 'finished', 'unknown'] as const
const StopAck = z.object({
  epoch,
  /** `received`: it denies from now on. `settled`: nothing that the stop found in flight runs any more. */
  phase: choice(['received', 'settled']),
  aborted: count,
  finished: count,
  /** Ended, and nobody can tell whether its effect happened. */
  unknown: count,
  /** Still running. 0 once settled. */
  running: count,
  calls: z
    .array(
      z.object({
        callId: text(1, 256).nullable(),
        runId: text(1, 256).nullable(),
        tool: text(1, 256).nullable(),
        end: choice(CALL_ENDS),
      }),
    )
    .max(MAX_TOLD_CALLS)
    .optional(),
})
export const StopAckRequest = z.object({ replica, acks: z.array(StopAck).min(1).max(MAX_ACKS) })
export const StopAckResponse = z.object({ ...okFields, orgId: z.string(), stored: z.number().int() })
export type StopAckBody = z.infer<typeof StopAck>

export const PresenceRequest = z.object({
  replica,
  devices: z
    .array(z.object({ deviceId, inFlight: count }))
    .min(1)
    .max(MAX_STREAM_DEVICES),
  /** How long a question may take, and how long questions took of late, in milliseconds. */
  timeoutMs: z.number().positive(),
  latencyMs: z.object({ p50: z.number().nonnegative(), p99: z.number().nonnegative() }).nullable(),
  /** It ends, as asked: from now on nobody waits for word from it. */
  leaving: z.boolean().optional(),
})
export type PresenceBody = z.infer<typeof PresenceRequest>
export const PresenceResponse = z.object({ ...okFields, orgId: z.string(), keyKind: z.enum(KEY_KINDS) })

const Replica = z.object({
  replica: z.string(),
  keyId: z.string(),
  keyKind: z.enum(KEY_KINDS),
  /** Whether its stream of stops is open now. */
  stream: z.enum(['up', 'down']),
  /** The last sign of life: stream, presence, acknowledgement, or a question. */
  lastSeenAt: time,
  /** No sign of life for longer than three heartbeats. */
  silent: z.boolean(),
  devices: z.array(z.object({ deviceId: z.string(), inFlight: z.number().int() })),
  timeoutMs: z.number().nullable(),
  latencyMs: z.object({ p50: z.number(), p99: z.number() }).nullable(),
  /** The last denial that it was given. */
  lastDenied: z.object({ at: time, deviceId: z.string(), code: z.string() }).nullable(),
})
export const ReplicasQuery = z.object({})
export const ReplicasResponse = z.object({ ...okFields, orgId: z.string(), replicas: z.array(Replica) })
export type ReplicaBody = z.infer<typeof Replica>

/**
 * `confirmed`: it said that nothing runs any more that the stop found. `acknowledged`: it denies, and some of that still
 * runs. `denying`: it said nothing, but was denied after the stop. `told`: the stop was written to its stream, no more is
 * known. `silent`: nothing was heard.
 */
export const REPLICA_CONFIRMATIONS = ['confirmed', 'acknowledged', 'denying', 'told', 'silent'] as const
const StopReplica = z.object({
  replica: z.string(),
  state: z.enum(REPLICA_CONFIRMATIONS),
  toldAt: time.nullable(),
  receivedAt: time.nullable(),
  settledAt: time.nullable(),
  lastDenied: z.object({ at: time, code: z.string() }).nullable(),
  lastSeenAt: time.nullable(),
  aborted: z.number().int(),
  finished: z.number().int(),
  unknown: z.number().int(),
  running: z.number().int(),
  calls: z.array(
    z.object({
      callId: z.string().nullable(),
      runId: z.string().nullable(),
      tool: z.string().nullable(),
      end: z.enum(CALL_ENDS),
    }),
  ),
})
const Stop = z.object({
  epoch,
  action: z.string(),
  /** The first 100 of `deviceCount`; empty for a lock, the org, or a key. */
  deviceIds: z.array(z.string()),
  deviceCount: z.number().int(),
  pattern: z.string().nullable(),
  keyId: z.string().nullable(),
  by: z.string(),
  reason: z.string().nullable(),
  at: time,
  /** Unconfirmed while one replica that it concerns has not confirmed it; `no_replicas` where nobody was there to. */
  state: z.enum(['confirmed', 'unconfirmed', 'no_replicas']),
  replicas: z.array(StopReplica),
})
export const StopHistoryQuery = z.object({
  /** One stop. */
  epoch: z.coerce.number(must('an epoch')).int().nonnegative().optional(),
  limit: pageLimit.optional(),
  cursor: cursor.optional(),
})
export const StopHistoryResponse = z.object({
  ...okFields,
  orgId: z.string(),
  /** Newest first. */
  stops: z.array(Stop),
  nextCursor,
})
export type StopBody = z.infer<typeof Stop>

export const StopSetQuery = z.object({
  epoch: z.coerce.number(must('an epoch')).int().nonnegative(),
  limit: pageLimit.optional(),
  cursor: cursor.optional(),
})
/** The devices of one stop, and what each needs to be as it was before: for a restore of exactly that set. */
export const StopSetResponse = z.object({
  ...okFields,
  orgId: z.string(),
  epoch,
  /** In the order in which they were stopped: for a pattern or label in byte order. Empty for a lock, the org, or a key. */
  devices: z.array(
    z.object({
      deviceId: z.string(),
      /** It was already revoked, so that a restore of this stop leaves it alone. */
      wasRevoked: z.boolean(),
      /** The epoch of its last change: what `ifEpoch` is compared with. Null when it is removed. */
      epochNow: epoch.nullable(),
      /** This stop is still what holds it: nothing has changed it since. */
      stillHeld: z.boolean(),
    }),
  ),
  nextCursor,
})
