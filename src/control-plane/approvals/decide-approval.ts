import { redact } from '../../redact.ts'
import type { OrgRecord } from '../records.ts'
import type { Refusal } from '../refusal.ts'
import type { Caller, ServiceContext } from '../service.ts'
import type { Change, OrgSnapshot } from '../store.ts'
import { frozen, noSuchApproval, notWaiting, otherDigest, staleEpoch } from './approval-refusals.ts'
import type { ApprovalRecord } from './approval-store.ts'

export interface ApprovalDecision {
  readonly digest: string
  readonly approve: boolean
  readonly message?: string | undefined
  readonly ifEpoch?: number | undefined
}

export function waits({ state, expiresAtMs }: ApprovalRecord, nowMs: number): boolean {
  return state === 'waiting' && expiresAtMs > nowMs
}

/**
 * Decides the approval of the snapshot, or throws. That it has expired is written down, so that refusal is the result: what
 * is thrown takes back what was to be written.
 */
export function decideApproval(
  { nowMs, entry }: Pick<ServiceContext, 'nowMs' | 'entry'>,
  caller: Caller,
  { org, approvals: [approval], callerSession }: OrgSnapshot,
  decision: ApprovalDecision,
): Change<Refusal | undefined> {
  if (approval === undefined) throw noSuchApproval()
  if (org.disabled) throw frozen()
  if (approval.state !== 'waiting') throw notWaiting(approval)
  const endedAtMs = nowMs()
  if (!waits(approval, endedAtMs)) {
    const expired: ApprovalRecord = { ...approval, state: 'expired', endedAtMs: approval.expiresAtMs }
    return { result: notWaiting(expired), approvals: [expired] }
  }
  assertSeen(org, approval, decision)
  const by = callerSession?.email ?? `${caller.kind}:${caller.actor}`
  const decided = decidedAs(approval, decision, { by, endedAtMs })
  const { approvalId, runId, callId, tool, surface, digest, state, message } = decided
  const row = entry(caller, decision.approve ? 'approval.approve' : 'approval.decline', {
    reason: message,
    before: { state: approval.state },
    after: { state, approvalId, runId, callId, tool, surface, digest },
  })
  return { result: undefined, approvals: [decided], audit: [row] }
}

/** G6: what is decided is compared with what the person saw. A no may come late. */
function assertSeen(
  { epoch }: OrgRecord,
  approval: ApprovalRecord,
  { digest, approve, ifEpoch = epoch }: ApprovalDecision,
): void {
  if (digest !== approval.digest) throw otherDigest()
  if (approve && ifEpoch !== epoch) throw staleEpoch(ifEpoch, epoch)
}

function decidedAs(
  approval: ApprovalRecord,
  { approve, message }: ApprovalDecision,
  { by, endedAtMs }: { readonly by: string; readonly endedAtMs: number },
): ApprovalRecord {
  return {
    ...approval,
    state: approve ? 'approved' : 'declined',
    endedAtMs,
    decidedBy: by,
    message: message === undefined ? null : redact(message),
  }
}
