import { z } from 'zod'

import {
  ChangeBatchResponse,
  ChangeResponse,
  ListQuery,
  ListResponse,
  RegisterRequest,
  RegisterResponse,
  RemoveRequest,
  RevokeBatchRequest,
  RevokeRequest,
  UnrevokeBatchRequest,
  UnrevokeRequest,
} from './wire-devices.ts'
import {
  DiagnosisQuery,
  DiagnosisResponse,
  DrillCutRequest,
  DrillCutResponse,
  DrillQuery,
  DrillResponse,
  DrillRunQuery,
  DrillRunRequest,
  DrillRunResponse,
  DrillsQuery,
  DrillsResponse,
  DrillStoreRequest,
  DrillStoreResponse,
  SigningKeyQuery,
  SigningKeyResponse,
} from './wire-drills.ts'
import {
  AuditQuery,
  AuditResponse,
  AuditVerifyQuery,
  AuditVerifyResponse,
  DecisionRatesQuery,
  DecisionRatesResponse,
  DecisionsQuery,
  DecisionsResponse,
} from './wire-evidence.ts'
import {
  KeyBurnRequest,
  KeyBurnResponse,
  KeyCreateRequest,
  KeyCreateResponse,
  KeyListResponse,
  KeyRotateRequest,
  KeyRotateResponse,
  KeysQuery,
} from './wire-keys.ts'
import {
  ApprovalDecideRequest,
  ApprovalQuery,
  ApprovalResponse,
  ApprovalsQuery,
  ApprovalsResponse,
} from './wire-approvals.ts'
import {
  RunQuery,
  RunResponse,
  RunsQuery,
  RunsResponse,
  UnknownEffectsQuery,
  UnknownEffectsResponse,
} from './wire-runs.ts'
import {
  SessionEndRequest,
  SessionEndResponse,
  SessionQuery,
  SessionRefreshRequest,
  SessionResponse,
  SessionStartRequest,
} from './wire-sessions.ts'
import { LockListResponse, LockReleaseRequest, LockRequest, LockResponse, LocksQuery } from './wire-locks.ts'
import {
  OrgDisableRequest,
  OrgEnableRequest,
  OrgPlanRequest,
  OrgPlanResponse,
  OwnersRequest,
  OwnersResponse,
  UsageResponse,
} from './wire-orgs.ts'
import {
  ReplicasQuery,
  ReplicasResponse,
  StopHistoryQuery,
  StopHistoryResponse,
  StopSetQuery,
  StopSetResponse,
} from './wire-stops.ts'
import { PATHS } from './paths.ts'

/** One call that an operator makes of the control plane. */
export interface Call<
  Path extends string = string,
  Input extends z.ZodType = z.ZodType,
  Output extends z.ZodType = z.ZodType,
> {
  readonly method: 'GET' | 'POST'
  readonly path: Path
  /** Of the body, or with GET of the query. */
  readonly input: Input
  readonly output: Output
  /** A `stop` may be repeated at will. Whether a `change` that got no answer was made has to be looked up. */
  readonly does: 'look' | 'stop' | 'change'
}

/** With `id` where the path has one. */
export type CallInput<C extends Call> = Given<z.input<C['input']>> &
  (C extends Call<`${string}/:id${string}`> ? { readonly id: string } : unknown)
/** zod's own type of `{}` has room for no other field. */
type Given<Input> = Input extends Record<string, never> ? object : Input
export type CallOutput<C extends Call> = z.output<C['output']>

type Make = <P extends string, I extends z.ZodType, O extends z.ZodType>(
  path: P,
  input: I,
  output: O,
) => Call<P, I, O>
const look: Make = (path, input, output) => ({ method: 'GET', path, input, output, does: 'look' })
const stop: Make = (path, input, output) => ({ method: 'POST', path, input, output, does: 'stop' })
const change: Make = (path, input, output) => ({ method: 'POST', path, input, output, does: 'change' })

/** Every call that an operator makes of the control plane, and what is answered. */
export const CALLS = {
  devices: look(PATHS.list, ListQuery, ListResponse),
  register: change(PATHS.register, RegisterRequest, RegisterResponse),
  revoke: stop(PATHS.revoke, RevokeRequest, ChangeResponse),
  revokeBatch: stop(PATHS.revokeBatch, RevokeBatchRequest, ChangeBatchResponse),
  unrevoke: change(PATHS.unrevoke, UnrevokeRequest, ChangeResponse),
  unrevokeBatch: change(PATHS.unrevokeBatch, UnrevokeBatchRequest, ChangeBatchResponse),
  remove: stop(PATHS.remove, RemoveRequest, ChangeResponse),
  locks: look(PATHS.locks, LocksQuery, LockListResponse),
  lock: stop(PATHS.locks, LockRequest, LockResponse),
  lockRelease: change(PATHS.lockRelease, LockReleaseRequest, LockResponse),
  usage: look(PATHS.usage, z.object({}), UsageResponse),
  orgDisable: stop(PATHS.orgDisable, OrgDisableRequest, ChangeResponse),
  orgEnable: change(PATHS.orgEnable, OrgEnableRequest, ChangeResponse),
  orgPlan: change(PATHS.orgPlan, OrgPlanRequest, OrgPlanResponse),
  owners: look(PATHS.orgOwners, z.object({}), OwnersResponse),
  ownersChange: change(PATHS.orgOwners, OwnersRequest, OwnersResponse),
  keys: look(PATHS.keys, KeysQuery, KeyListResponse),
  keyCreate: change(PATHS.keys, KeyCreateRequest, KeyCreateResponse),
  keyRotate: change(PATHS.keyRotate, KeyRotateRequest, KeyRotateResponse),
  keyBurn: stop(PATHS.keyBurn, KeyBurnRequest, KeyBurnResponse),
  decisions: look(PATHS.decisions, DecisionsQuery, DecisionsResponse),
  audit: look(PATHS.audit, AuditQuery, AuditResponse),
  auditVerify: look(PATHS.auditVerify, AuditVerifyQuery, AuditVerifyResponse),
  replicas: look(PATHS.replicas, ReplicasQuery, ReplicasResponse),
  stopHistory: look(PATHS.stopHistory, StopHistoryQuery, StopHistoryResponse),
  drills: look(PATHS.drills, DrillsQuery, DrillsResponse),
  drill: look(PATHS.drill, DrillQuery, DrillResponse),
  drillStore: change(PATHS.drills, DrillStoreRequest, DrillStoreResponse),
  drillCut: change(PATHS.drillCut, DrillCutRequest, DrillCutResponse),
  signingKey: look(PATHS.signingKey, SigningKeyQuery, SigningKeyResponse),
  stopSet: look(PATHS.stopSet, StopSetQuery, StopSetResponse),
  decisionRates: look(PATHS.decisionRates, DecisionRatesQuery, DecisionRatesResponse),
  drillRun: look(PATHS.drillRun, DrillRunQuery, DrillRunResponse),
  drillRunStart: change(PATHS.drillRun, DrillRunRequest, DrillRunResponse),
  approvals: look(PATHS.approvals, ApprovalsQuery, ApprovalsResponse),
  approval: look(PATHS.approval, ApprovalQuery, ApprovalResponse),
  approvalDecide: change(PATHS.approvalDecide, ApprovalDecideRequest, ApprovalResponse),
  runs: look(PATHS.runs, RunsQuery, RunsResponse),
  run: look(PATHS.run, RunQuery, RunResponse),
  unknownEffects: look(PATHS.unknownEffects, UnknownEffectsQuery, UnknownEffectsResponse),
  session: look(PATHS.session, SessionQuery, SessionResponse),
  sessionStart: change(PATHS.session, SessionStartRequest, SessionResponse),
  sessionRefresh: change(PATHS.sessionRefresh, SessionRefreshRequest, SessionResponse),
  sessionEnd: stop(PATHS.sessionEnd, SessionEndRequest, SessionEndResponse),
  diagnosis: look(PATHS.diagnosis, DiagnosisQuery, DiagnosisResponse),
} as const satisfies Record<string, Call>
