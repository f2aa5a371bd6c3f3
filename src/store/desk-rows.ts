import type { ApprovalRecord } from '../control-plane/approvals/approval-store.ts'
import type {
  ReportedEffectRecord,
  ReportedRunRecord,
  ReportedStep,
  StepDetail,
} from '../control-plane/runs/run-report-store.ts'
import type { SessionRecord } from '../control-plane/sessions/session-store.ts'
import { json, mapping, type Row } from './control-plane-rows.ts'

// How the records of the console's desk lie in columns, in both databases.

export const sessions = mapping<SessionRecord>({
  sessionId: 'session_id',
  orgId: 'org_id',
  keyId: 'key_id',
  email: 'email',
  digest: 'digest',
  digestBefore: 'digest_before',
  beforeUntilMs: 'before_until_ms',
  turn: 'turn',
  startedAtMs: 'started_at_ms',
  idleAtMs: 'idle_at_ms',
  endsAtMs: 'ends_at_ms',
  endedAtMs: 'ended_at_ms',
  endedAs: 'ended_as',
})

/** Without the org, which is the first part of the key. */
export const approvals = mapping<ApprovalRecord>({
  approvalId: 'approval_id',
  runId: 'run_id',
  agent: 'agent',
  caller: 'caller',
  callId: 'call_id',
  tool: 'tool',
  surface: 'surface',
  deviceIds: json('device_ids'),
  digest: 'digest',
  schemaDigest: 'schema_digest',
  argumentsJson: 'arguments_json',
  askedAtMs: 'asked_at_ms',
  askedBy: 'asked_by',
  expiresAtMs: 'expires_at_ms',
  state: 'state',
  endedAtMs: 'ended_at_ms',
  decidedBy: 'decided_by',
  message: 'message',
})

/** Without the org. */
export const reportedRuns = mapping<ReportedRunRecord>({
  runId: 'run_id',
  keyId: 'key_id',
  replica: 'replica',
  agent: 'agent',
  caller: 'caller',
  status: 'status',
  code: 'code',
  createdAtMs: 'created_at_ms',
  changedAtMs: 'changed_at_ms',
  reportedAtMs: 'reported_at_ms',
})

/** Without the org and the key. */
export const unknownEffects = mapping<ReportedEffectRecord>({
  id: 'effect_id',
  effect: 'effect',
  kind: 'kind',
  tool: 'tool',
  runId: 'run_id',
  callId: 'call_id',
  changedAtMs: 'changed_at_ms',
  replica: 'replica',
  reportedAtMs: 'reported_at_ms',
})

export function stepOf(row: Row): ReportedStep {
  return {
    runId: String(row['run_id']),
    seq: Number(row['seq']),
    atMs: Number(row['at_ms']),
    type: String(row['type']),
    detail: JSON.parse(String(row['detail'])) as StepDetail,
  }
}

/** Of reported runs: how much goes at once when there is too much, so that looking for it is rare. */
export const PART_OF_RUNS_AT_ONCE = 0.01
/** How exactly it is known when a replica was last heard of. */
export const HEARD_EVERY_MS = 60_000
