import type { ApprovalUse } from '../../guard/journal.ts'
import type { HostedRun } from '../session.ts'
import { callClaim, type CallClaimOptions } from './call-claim.ts'
import type { Execution } from './execution.ts'
import type { Host } from './host.ts'
import { admitAgent, type HostedAgent } from './hosted-agent.ts'
import type { ApprovalBinding, ApprovalRecord } from './run-store.ts'

export interface HostedSessionOptions {
  readonly hosted: HostedAgent
  /** Every approval that the run has asked for so far. */
  readonly asked: readonly ApprovalRecord[]
  readonly waited: CallClaimOptions['waited']
}

/** What a hosted run adds to its session: its claim, its stored approvals, and its steps. */
export function hostedSession(
  { guard, store, nowMs }: Pick<Host, 'guard' | 'store' | 'nowMs'>,
  execution: Execution,
  { hosted, asked, waited }: HostedSessionOptions,
): HostedRun {
  const { runId, token, lease } = execution
  const askedCallIds = new Set(asked.map(({ callId }) => callId))
  return {
    fence: { runId, token },
    isOurs: lease.renew,
    mayStart: callClaim({ store, execution, waited }),
    wasAsked: (callId) => askedCallIds.has(callId),
    approvalFor: async (call) => {
      const stored = approvalOn(await store.approvalsOf(runId), call)
      const isGiven = stored?.state === 'approved' || stored?.state === 'used'
      if (stored?.state === 'expired' || (stored?.state === 'approved' && isExpired(stored, nowMs())))
        return 'APPROVAL_EXPIRED'
      if (!isGiven) return 'APPROVAL_REQUIRED'
      // One that is used already covers only what the same call has left unfinished: the journal knows.
      return { approvalId: stored.approvalId, useToken: crypto.randomUUID() } satisfies ApprovalUse
    },
    useApproval: async (use) => (await store.useApproval(use)) === undefined,
    step: (step) => execution.steps.emit(step),
    admit: (agent) => admitAgent(guard, hosted, agent),
    stopped: (denial) => execution.stopped(denial),
  }
}

/** The latest one that was asked for exactly this call. */
export function approvalOn(
  stored: readonly ApprovalRecord[],
  call: ApprovalBinding,
): ApprovalRecord | undefined {
  return stored.findLast(
    (one) =>
      one.callId === call.callId &&
      one.tool === call.tool &&
      one.digest === call.digest &&
      one.schemaDigest === call.schemaDigest &&
      one.surface === call.surface,
  )
}

export function isExpired({ expiresAtMs }: ApprovalRecord, nowMs: number): boolean {
  return nowMs >= expiresAtMs
}
