import type { PendingCall } from '../pending-approvals.ts'
import { showDesk } from './desk.ts'
import type { Claim, Execution } from './execution.ts'
import type { Host } from './host.ts'
import { logText, type RunEnd } from './run-end.ts'
import type { ApprovalRecord, NewApproval, RunSave } from './run-store.ts'
import { RunRefused, type RunView } from './run-types.ts'
import { waitingCalls } from './waiting-calls.ts'
import { argumentsOf, isoTime, viewOf } from './views.ts'

/** Nothing is stored but by the holder of the claim: whoever lost it is told so, and the run is another's. */
const lost = (runId: string) =>
  new RunRefused(
    'RUN_BUSY',
    `Run ${runId} was taken over by another process, or has ended. Look: GET /runs/${runId}`,
  )

/** Seals and stores how a run paused or ended, shows new approvals to the desk, and tells of the end. */
export async function saveRun(
  host: Host,
  claim: Claim,
  execution: Execution,
  reached: RunEnd | undefined,
): Promise<RunView> {
  const { guard, store, log } = host
  const { runId } = claim.run
  if (execution.ending === 'lost') throw lost(runId)
  execution.isSaving = true
  if (reached === undefined) return goBack(host, claim, execution)
  const { end, calls } = await waitingCalls(reached)
  if (end.thrown !== undefined) {
    const code = end.problem?.code
    log.error({ run_id: runId, agent: claim.run.agent, code, err: logText(end.thrown) }, 'run failed')
  }
  const before = await store.approvalsOf(runId)
  const { contextDigest } = execution
  const save = { ...sealed(host, claim, end, calls), contextDigest }
  guard.reach('run.state_sealed')
  await execution.steps.flush()
  if (!(await store.save(claim.token, save))) {
    log.warn({ run_id: runId, status: end.status }, 'a run was not saved: its claim is no longer ours')
    throw lost(runId)
  }
  const after = await store.approvalsOf(runId)
  tellOfApprovals(host, execution, before, after)
  await showDesk(host, before, after)
  return tellOfEnd(host, claim, execution, after)
}

function sealed(
  { seal, approvalTtlMs }: Host,
  { run }: Claim,
  end: RunEnd,
  calls: readonly PendingCall[],
): RunSave {
  const { runId } = run
  const state = { purpose: 'state', runId, version: run.version + 1 } as const
  const approvals = calls.map((call): NewApproval => {
    const { callId, tool, digest, schemaDigest, surface } = call
    const approvalId = `apr_${crypto.randomUUID()}`
    const text = JSON.stringify(call.arguments) ?? 'null'
    return {
      approvalId,
      callId,
      tool,
      digest,
      schemaDigest,
      surface,
      arguments: seal.seal({ purpose: 'arguments', runId, approvalId }, text),
      ttlMs: approvalTtlMs,
    }
  })
  const output = JSON.stringify(end.output) ?? 'null'
  return {
    status: end.status,
    state: end.state === undefined ? undefined : seal.seal(state, end.state),
    output: end.status === 'completed' ? seal.seal({ purpose: 'output', runId }, output) : undefined,
    resumable: end.resumable,
    denial: end.denial,
    problem: end.problem,
    approvals,
  }
}

/** Nothing of this part can be kept: the run is again what it was, or lost when it had nothing to go on from (R3). */
async function goBack(host: Host, claim: Claim, execution: Execution): Promise<RunView> {
  const { store, log } = host
  const { run, token } = claim
  log.warn({ run_id: run.runId }, 'a run was broken off; it goes back to its last saved state')
  const before = await store.approvalsOf(run.runId)
  const { stoppedBy: denial } = execution
  if (!(await store.release(token, denial === undefined ? {} : { denial }))) throw lost(run.runId)
  const after = await store.approvalsOf(run.runId)
  await showDesk(host, before, after)
  return tellOfEnd(host, claim, execution, after)
}

async function tellOfEnd(
  host: Host,
  { run }: Claim,
  { steps }: Execution,
  approvals: readonly ApprovalRecord[],
): Promise<RunView> {
  const saved = (await host.store.find(run.runId)) ?? run
  const view = await viewOf(host, saved, approvals)
  steps.emit({ type: 'run_ended', run: view })
  await steps.flush()
  return view
}

function tellOfApprovals(
  host: Host,
  { steps }: Execution,
  before: readonly ApprovalRecord[],
  after: readonly ApprovalRecord[],
): void {
  const known = new Set(before.map(({ approvalId }) => approvalId))
  for (const approval of after.filter(({ approvalId }) => !known.has(approvalId))) {
    const { callId, tool, digest, expiresAtMs } = approval
    const asked = { call_id: callId, tool, digest, expires_at: isoTime(expiresAtMs) }
    steps.emit({ type: 'approval_asked', ...asked, arguments: argumentsOf(host, approval) })
  }
}
