import {
  ApprovalDecideRequest,
  ApprovalQuery,
  ApprovalRefused,
  ApprovalResponse,
  ApprovalsAskRequest,
  ApprovalsAskResponse,
  ApprovalsQuery,
  ApprovalsResponse,
  ApprovalsWithdrawRequest,
  ApprovalsWithdrawResponse,
  MAX_APPROVALS_BODY_BYTES,
  type ApprovalBody,
} from '../../machineid/wire-approvals.ts'
import { PATHS } from '../../machineid/paths.ts'
import type { KeyKind } from '../../machineid/wire.ts'
import { orgRoute, type ApiContext, type Route } from '../api-route.ts'
import { MAY_RESTORE, MAY_SEE } from '../key-kinds.ts'
import { planAsOf } from '../plan.ts'
import { notACursor } from '../refusal.ts'
import { decide, standingOf } from '../rules.ts'
import { isoOrNull } from '../times.ts'
import type { ApprovalPage, ApprovalPlace, ApprovalRecord } from './approval-store.ts'

const PAGE_APPROVALS = 100
const MAY_ASK: readonly KeyKind[] = ['runtime', 'full']
const MAY_LOOK: readonly KeyKind[] = ['runtime', ...MAY_SEE]
const CURSOR = /^([wo])\.(\d{1,16})\.([A-Za-z0-9._:-]{1,128})$/

/** Where people decide on calls that wait. An approval is no permit: the hold points still ask. */
export function approvalRoutes(context: ApiContext): Route[] {
  return [
    askRoute(context),
    withdrawRoute(context),
    listRoute(context),
    approvalRoute(context),
    decideRoute(context),
  ]
}

function askRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_ASK, {
    method: 'post',
    path: PATHS.approvals,
    handler: 'approvals',
    summary: 'Brings calls that wait for a person; idempotent by approvalId',
    input: ApprovalsAskRequest,
    output: ApprovalsAskResponse,
    refusals: ['KEY_NOT_BOUND_TO_DEVICE', 'APPROVAL_CONFLICT', 'TOO_MANY_APPROVALS'],
    bodyLimitBytes: MAX_APPROVALS_BODY_BYTES,
    run: async ({ input: { approvals }, key, caller, orgId }) => ({
      body: { orgId, added: await context.service.askApprovals(caller, orgId, key, approvals) },
    }),
  })
}

function withdrawRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_ASK, {
    method: 'post',
    path: PATHS.approvalsWithdraw,
    handler: 'approvals/withdraw',
    summary: 'Takes back calls that no longer wait; what was decided stays so',
    input: ApprovalsWithdrawRequest,
    output: ApprovalsWithdrawResponse,
    run: async ({ input: { approvalIds }, key, caller, orgId }) => ({
      body: { orgId, withdrawn: await context.service.withdrawApprovals(caller, orgId, key, approvalIds) },
    }),
  })
}

function listRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_LOOK, {
    method: 'get',
    path: PATHS.approvals,
    handler: 'approvals/list',
    summary: 'Lists approvals: those that wait first, then the others, newest first',
    input: ApprovalsQuery,
    output: ApprovalsResponse,
    run: async ({ input, key, orgId }) => {
      const { state, runId, ids, limit = PAGE_APPROVALS, cursor } = input
      const after = cursor === undefined ? undefined : placeOf(cursor)
      const filter = { state, runId, ids: ids?.split(',') }
      const page = await context.service.listApprovals(orgId, key, filter, { after, limit })
      return {
        body: {
          orgId,
          orgEpoch: page.org.epoch,
          approvals: approvalBodies(page, context.service.nowMs()),
          waiting: page.waiting,
          nextCursor: page.next === null ? null : cursorOf(page.next),
        },
      }
    },
  })
}

function approvalRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_LOOK, {
    method: 'get',
    path: PATHS.approval,
    handler: 'approvals/show',
    summary: 'Shows one approval, and what its devices are told now',
    input: ApprovalQuery,
    output: ApprovalResponse,
    refusals: ['APPROVAL_NOT_FOUND'],
    run: async ({ id, key, orgId }) => ({ body: await shown(context, orgId, key, id) }),
  })
}

function decideRoute(context: ApiContext): Route {
  return orgRoute(context, MAY_RESTORE, {
    method: 'post',
    path: PATHS.approvalDecide,
    handler: 'approvals/decide',
    summary: 'Approves or declines one call, once, against the digest of the arguments that were shown',
    input: ApprovalDecideRequest,
    output: ApprovalResponse,
    refused: ApprovalRefused,
    refusals: [
      'APPROVAL_NOT_FOUND',
      'APPROVAL_NOT_WAITING',
      'APPROVAL_DIGEST_MISMATCH',
      'ORG_DISABLED',
      'EPOCH_STALE',
    ],
    run: async ({ id, input, key, caller, orgId }) => {
      await context.service.decideApproval(caller, orgId, id, input)
      return { body: await shown(context, orgId, key, id) }
    },
  })
}

type Looker = Parameters<ApiContext['service']['findApproval']>[1]

async function shown({ service }: ApiContext, orgId: string, key: Looker, id: string) {
  const page = await service.findApproval(orgId, key, id)
  return { orgId, orgEpoch: page.org.epoch, approval: approvalBodies(page, service.nowMs())[0] }
}

/** With what a validate of each device would answer now, out of the same snapshot. */
function approvalBodies(page: ApprovalPage, nowMs: number): ApprovalBody[] {
  const org = planAsOf(page.org, nowMs)
  const devices = new Map(page.devices.map((device) => [device.deviceId, device]))
  const codeOf = (id: string) => decide(standingOf(org, devices.get(id), page.lockedDevices.has(id)))
  return page.approvals.map(
    ({ askedAtMs, askedBy: _by, expiresAtMs, endedAtMs, deviceIds, ...approval }) => ({
      ...approval,
      deviceIds: [...deviceIds],
      state: stateAt({ ...approval, expiresAtMs }, nowMs),
      askedAt: new Date(askedAtMs).toISOString(),
      expiresAt: new Date(expiresAtMs).toISOString(),
      decidedAt: approval.decidedBy === null ? null : isoOrNull(endedAtMs),
      devices: deviceIds.map((deviceId) => ({ deviceId, code: codeOf(deviceId) })),
    }),
  )
}

function stateAt({ state, expiresAtMs }: Pick<ApprovalRecord, 'state' | 'expiresAtMs'>, nowMs: number) {
  return state === 'waiting' && expiresAtMs <= nowMs ? 'expired' : state
}

function cursorOf({ waiting, atMs, approvalId }: ApprovalPlace): string {
  return `${waiting ? 'w' : 'o'}.${atMs}.${approvalId}`
}

function placeOf(cursor: string): ApprovalPlace {
  const [, part, atMs, approvalId] = CURSOR.exec(cursor) ?? []
  if (part === undefined || approvalId === undefined) throw notACursor()
  return { waiting: part === 'w', atMs: Number(atMs), approvalId }
}
