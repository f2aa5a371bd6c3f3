import { z } from 'zod'

import {
  cursor,
  deviceId,
  epoch,
  nextCursor,
  okFields,
  pageLimit,
  text,
  time,
  wholeNumber,
} from './wire-fields.ts'

// Drills: what was measured, signed by the org, and what they need of the authority.

/** The largest report, in bytes. */
export const MAX_REPORT_BYTES = 256 * 1024

/** Of a DNS-safe, sortable kind, chosen by whoever runs the drill. */
const drillId = text(1, 64).regex(/^[a-z0-9-]+$/, { error: 'must be of a-z, 0-9 and -' })
const millis = z.number().nonnegative()
const Latency = z.object({ count: z.number().int(), p50Ms: millis, p99Ms: millis, maxMs: millis })
/** One stop of a drill, as one replica and boundary saw it. */
export const DrillMeasure = z.object({
  replica: text(1, 256),
  surface: text(1, 64),
  boundary: z.enum(['tool', 'side_effect']),
  /** Calls sent after the ack. */
  sentAfterAck: z.number().int(),
  /** Of those, how many started. Must be 0 (G1). */
  startedAfterAck: z.number().int(),
  /** Calls sent before the ack that started after it: G3's window. */
  startedInWindow: z.number().int(),
  /** The latest such start, after the ack. */
  windowMs: millis.nullable(),
  /** Calls in flight at the ack, and the time from the ack to the end of each. */
  inFlight: z.number().int(),
  ended: Latency.nullable(),
  codes: z.record(z.string(), z.number().int()),
})
/** One thing that a drill did, in order. */
export const DrillStep = z.object({
  name: z.enum(['baseline', 'stop', 'restore', 'disable_org', 'enable_org', 'cut', 'mend']),
  held: z.boolean(),
  /** What it proves, or what went wrong, in a sentence. */
  note: z.string().max(500),
  startedAt: time,
  /** Of a stop or restore: its epoch. */
  epoch: epoch.nullable(),
  /** From the request to its ack. */
  ackMs: millis.nullable(),
  measures: z.array(DrillMeasure).max(256),
})
export const DrillReport = z.object({
  version: z.literal(1),
  drillId,
  orgId: z.string(),
  startedAt: time,
  endedAt: time,
  /** Whether each step held. */
  held: z.boolean(),
  /** `canary`: a device that nothing else uses was stopped. `surface`: the real one. */
  target: z.object({ kind: z.enum(['canary', 'surface']), deviceIds: z.array(z.string()) }),
  callsPerSecond: z.number().positive(),
  toolServers: z.array(
    z.object({ url: z.string(), replica: z.string(), stopStream: z.enum(['up', 'down', 'off']) }),
  ),
  steps: z.array(DrillStep).max(32),
  /** Milliseconds from an ack to the end of each call that was in flight, for the plot. */
  endedMs: z.array(millis).max(10_000),
})
export type DrillReportBody = z.infer<typeof DrillReport>

/** What the authority itself knows about it; signed together with the report. */
export const DrillAttestation = z.object({
  drillId: z.string(),
  orgId: z.string(),
  /** SHA-256 of the report as canonical JSON, in hex. */
  reportSha256: z.string(),
  storedAt: time,
  storedBy: z.string(),
  /** The stops and restores that the report names, as the audit has them; null where it has none of that epoch. */
  audit: z.array(
    z.object({
      epoch,
      row: z.object({ seq: z.number().int(), hash: z.string(), action: z.string(), at: time }).nullable(),
    }),
  ),
  auditHead: z.object({ seq: z.number().int(), hash: z.string() }).nullable(),
})
/** `signature`: Ed25519 over the attestation as canonical JSON, in base64url. `publicKey`: SPKI in base64url. */
export const SignedDrill = z.object({
  report: DrillReport,
  attestation: DrillAttestation,
  signature: z.string(),
  publicKey: z.string(),
})
export type SignedDrillBody = z.infer<typeof SignedDrill>

export const DrillStoreRequest = z.object({ report: DrillReport })
export const DrillStoreResponse = z.object({ ...okFields, orgId: z.string(), drill: SignedDrill })
export const DrillsQuery = z.object({ limit: pageLimit.optional(), cursor: cursor.optional() })
export const DrillsResponse = z.object({
  ...okFields,
  orgId: z.string(),
  /** Newest first. */
  drills: z.array(
    z.object({
      drillId: z.string(),
      startedAt: time,
      held: z.boolean(),
      target: z.enum(['canary', 'surface']),
      /** Of all its stops, the worst: the time to the end of what was in flight, and the starts after an ack. */
      endedP99Ms: z.number().nullable(),
      startedAfterAck: z.number().int(),
    }),
  ),
  nextCursor,
})
export const DrillQuery = z.object({})
export const DrillResponse = z.object({ ...okFields, orgId: z.string(), drill: SignedDrill })
export const DrillRunRequest = z.object({
  /** A real surface instead of a canary. */
  surface: text(1, 64).optional(),
  /** Disables and enables the whole org too. */
  org: z.boolean().optional(),
  /** Makes the authority unreachable for the canary too. Default true. */
  cut: z.boolean().optional(),
  callsPerSecond: wholeNumber(1, 100).optional(),
  forSeconds: wholeNumber(1, 30).optional(),
})
const DrillRun = z.object({
  /** `off`: this control plane was not told of any tool server, so it can run none. */
  state: z.enum(['off', 'idle', 'running', 'held', 'not_held', 'failed']),
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  by: z.string().nullable(),
  /** Once it is stored. */
  drillId: z.string().nullable(),
  /** What it says of itself as it goes on, the newest 200 lines. */
  lines: z.array(z.string()),
})
export type DrillRunBody = z.infer<typeof DrillRun>
export const DrillRunQuery = z.object({})
/** The last one that was started here. */
export const DrillRunResponse = z.object({ ...okFields, orgId: z.string(), run: DrillRun })
export const SigningKeyQuery = z.object({})
export const SigningKeyResponse = z.object({
  ...okFields,
  orgId: z.string(),
  algorithm: z.literal('Ed25519'),
  /** SPKI, in base64url. */
  publicKey: z.string(),
})
/**
 * For a while every question that names this canary gets no answer: its connection is cut. Only a canary's, whose third
 * segment is `canary`. Ends by itself.
 */
export const DrillCutRequest = z.object({ deviceId, seconds: wholeNumber(0, 60) })
export const DrillCutResponse = z.object({
  ...okFields,
  orgId: z.string(),
  deviceId: z.string(),
  until: time,
})

export const SqliteStore = z.object({
  kind: z.literal('sqlite'),
  version: z.string(),
  journalMode: z.string(),
  /** `full` or `extra`: an acked stop outlives a power cut (G5). */
  synchronous: z.string(),
  generation: z.number().int(),
})
export const PostgresStore = z.object({
  kind: z.literal('postgres'),
  version: z.string(),
  /** `on`: an acked stop outlives a power cut (G5). */
  fsync: z.string(),
  fullPageWrites: z.string(),
  synchronousCommit: z.string(),
  synchronousStandbyNames: z.string(),
  synchronousStandbys: z.number().int().nullable(),
  consistency: z.enum(['primary', 'quorum']),
  /**
   * Which guarantees hold when a standby is promoted. `promotion`: when one is promoted that has confirmed every commit.
   * `fencing`: when g5 does, and the old primary is fenced off. Nodes before this version may say `promotion` for g1, too.
   */
  failover: z.object({
    g1: z.enum(['holds', 'fencing', 'promotion', 'no']),
    g5: z.enum(['holds', 'promotion', 'no']),
  }),
  generation: z.number().int(),
})
/** How the authority itself is set up, for whoever looks for a weak spot. */
export const DiagnosisQuery = z.object({})
export const DiagnosisResponse = z.object({
  ...okFields,
  orgId: z.string(),
  now: time,
  store: z.discriminatedUnion('kind', [SqliteStore, PostgresStore]),
  /** How many control planes use this store, this one included. */
  nodes: z.number().int(),
  validateWorkers: z.number().int(),
  decisionLog: z.enum(['denials', 'all']),
  streams: z.number().int(),
})
export type DiagnosisBody = z.infer<typeof DiagnosisResponse>
