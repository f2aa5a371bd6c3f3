import { messageOf } from '../../errors.ts'
import { idempotencyKeyOf } from '../../guard/effect.ts'
import type { JournalEntry } from '../../guard/journal.ts'
import type { Host } from './host.ts'
import { isExpired } from './hosted-session.ts'
import type { ApprovalRecord, RunRecord } from './run-store.ts'
import { RunRefused, type ApprovalView, type EffectView, type RunView } from './run-types.ts'

/** A run as its caller sees it, with the calls that wait. */
export async function viewOf(
  host: Host,
  run: RunRecord,
  approvals?: readonly ApprovalRecord[],
): Promise<RunView> {
  const { runId, agent, caller, status, resumable, denial, problem, cancelRequested } = run
  const asked = status === 'interrupted' ? (approvals ?? (await host.store.approvalsOf(runId))) : []
  const waiting = asked
    .map((approval) => approvalView(host, approval))
    .filter(({ state }) => state === 'waiting' || state === 'approved')
  const error = problem === undefined ? {} : { error: problem }
  return {
    runId,
    agent,
    caller,
    status,
    ...(run.output === undefined ? {} : outputOf(host, runId, run.output)),
    approvals: waiting,
    resumable,
    ...(denial === undefined ? {} : { denial }),
    ...error,
    ...(status === 'running' && cancelRequested ? { cancelling: true } : {}),
    createdAt: isoTime(run.createdAtMs),
    changedAt: isoTime(run.changedAtMs),
    ...(status === 'queued' ? { startsAt: isoTime(run.startAtMs) } : {}),
  }
}

/** An output that does not open hides nothing else of the run. */
function outputOf(host: Host, runId: string, sealed: Uint8Array): Pick<RunView, 'output' | 'error'> {
  try {
    return { output: JSON.parse(host.seal.open({ purpose: 'output', runId }, sealed)) as unknown }
  } catch (cause) {
    host.log.error({ run_id: runId, err: messageOf(cause) }, 'the output of a run does not open')
    if (!(cause instanceof RunRefused)) throw cause
    return { error: { code: cause.code, message: cause.message } }
  }
}

export function approvalView(host: Host, approval: ApprovalRecord): ApprovalView {
  const { callId, tool, digest, surface, decidedBy } = approval
  const open = approval.state === 'waiting' || approval.state === 'approved'
  return {
    callId,
    tool,
    arguments: argumentsOf(host, approval),
    digest,
    surface,
    state: open && isExpired(approval, host.nowMs()) ? 'expired' : approval.state,
    expiresAt: isoTime(approval.expiresAtMs),
    ...(decidedBy === undefined ? {} : { decidedBy }),
  }
}

/** Undefined when they do not open: nobody can approve what nobody can see. */
export function argumentsOf(host: Host, { runId, approvalId, ...approval }: ApprovalRecord): unknown {
  try {
    return JSON.parse(
      host.seal.open({ purpose: 'arguments', runId, approvalId }, approval.arguments),
    ) as unknown
  } catch (cause) {
    host.log.error({ run_id: runId, err: messageOf(cause) }, 'the arguments of an approval do not open')
    return undefined
  }
}

export function effectView(entry: JournalEntry): EffectView {
  const { key, effect, kind, tool, state, callId, runId, changedAtMs } = entry
  return {
    id: idempotencyKeyOf(key),
    effect,
    kind,
    tool,
    state,
    callId,
    ...(runId === undefined ? {} : { runId }),
    changedAt: isoTime(changedAtMs),
  }
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
