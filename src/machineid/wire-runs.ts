import { z } from 'zod'

import {
  cursor,
  must,
  nextCursor,
  okFields,
  pageLimit,
  text,
  time,
  timeGiven,
  wholeNumber,
} from './wire-fields.ts'

// What tool servers tell of the runs that they host, so that a person can see them in one place. Best effort: it holds
// no arguments and no outputs, nothing is decided by it, and what is lost stands in the tool server's own store.

/** The largest body of a report, in bytes. */
export const MAX_RUN_REPORT_BODY_BYTES = 256 * 1024
/** Of one run, the newest that are kept. */
export const MAX_RUN_STEPS = 2000

const name = text(1, 256)
const id = text(1, 128)
const Run = z.object({
  runId: id,
  agent: name,
  caller: name,
  /** As the tool server says it: queued, running, interrupted, completed, denied, failed, cancelled. */
  status: text(1, 32),
  /** Of a denial or failure. */
  code: text(1, 64).nullable(),
  createdAt: timeGiven,
  changedAt: timeGiven,
})
const STEP = must('an object of texts, numbers, true, false and null')
const Step = z.object({
  runId: id,
  /** Rises by one within a run and replica start; together with `at` it tells two steps apart. */
  seq: wholeNumber(0, 10_000_000),
  at: timeGiven,
  /** For example `tool_called`, `held`, `allowed`, `denied`, `tool_output`, `approval_asked`. */
  type: text(1, 64),
  detail: z.record(text(1, 64), z.union([text(0, 512), z.number(), z.boolean(), z.null()]), STEP),
})
const UnknownEffect = z.object({
  /** The idempotency key. */
  id: text(1, 256),
  effect: name,
  kind: text(1, 64),
  tool: name,
  runId: id.nullable(),
  callId: text(1, 512).nullable(),
  changedAt: timeGiven,
})
export const RunReportRequest = z.object({
  replica: name,
  runs: z.array(Run).max(100),
  steps: z.array(Step).max(500),
  /** All that this replica's store has, at most 100; replaces what it said before. Left out: unchanged. */
  unknownEffects: z.array(UnknownEffect).max(100).optional(),
})
export type RunReportBody = z.infer<typeof RunReportRequest>
export const RunReportResponse = z.object({ ...okFields, orgId: z.string() })

const RunRow = Run.extend({ createdAt: time, changedAt: time, replica: z.string() })
export type RunRowBody = z.infer<typeof RunRow>
export const RunsQuery = z.object({
  status: text(1, 32).optional(),
  agent: name.optional(),
  limit: pageLimit.optional(),
  cursor: cursor.optional(),
})
/** Newest first. */
export const RunsResponse = z.object({ ...okFields, orgId: z.string(), runs: z.array(RunRow), nextCursor })
export const RunQuery = z.object({})
export const RunResponse = z.object({
  ...okFields,
  orgId: z.string(),
  run: RunRow,
  /** In their order. */
  steps: z.array(z.object({ at: time, type: z.string(), detail: Step.shape.detail })),
})
export const UnknownEffectsQuery = z.object({})
/** Effects of which nobody can tell whether they happened, told by replicas; each once, oldest first. */
export const UnknownEffectsResponse = z.object({
  ...okFields,
  orgId: z.string(),
  effects: z.array(UnknownEffect.extend({ changedAt: time, replica: z.string(), reportedAt: time })),
})
