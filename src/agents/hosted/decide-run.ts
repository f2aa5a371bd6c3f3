import { digestOf } from '../../canonical-json.ts'
import { showDesk } from './desk.ts'
import { requireApprover, visibleRun, type Host } from './host.ts'
import { isExpired } from './hosted-session.ts'
import type { ApprovalRecord, ApprovalState, ApprovalVerdict } from './run-store.ts'
import { RunRefused, type RunCaller, type RunDecision, type RunView } from './run-types.ts'
import { argumentsOf, viewOf } from './views.ts'

/** Stores what people decided: all of it or none. Nothing runs before the run is resumed. */
export async function decideRun(
  host: Host,
  who: RunCaller,
  runId: string,
  decisions: readonly RunDecision[],
): Promise<RunView> {
  const run = await visibleRun(host, who, runId)
  requireApprover(who)
  if (decisions.length === 0) throw new RunRefused('BAD_INPUT', 'decisions must not be empty.')
  const before = await host.store.approvalsOf(runId)
  const verdicts = decisions.flatMap((decision) => verdictsOn(host, before, decision))
  const ids = new Set(verdicts.map(({ approvalId }) => approvalId))
  if (ids.size < verdicts.length)
    throw new RunRefused('BAD_INPUT', 'A call can be decided once. Send one decision for each.')
  const problem = await host.store.decide(runId, verdicts, who.id)
  if (problem !== undefined) throw undecidable(before, problem.approvalId, problem.state)
  const after = await host.store.approvalsOf(runId)
  await showDesk(host, before, after)
  return viewOf(host, (await host.store.find(runId)) ?? run, after)
}

function verdictsOn(
  host: Host,
  stored: readonly ApprovalRecord[],
  { callId, digest, approve, message }: RunDecision,
): ApprovalVerdict[] {
  const ofCall = stored.filter((approval) => approval.callId === callId)
  if (ofCall.length === 0) {
    const waiting = stored.filter(({ state }) => state === 'waiting').map((approval) => approval.callId)
    throw new RunRefused(
      'APPROVAL_UNKNOWN',
      `No call ${callId} waits for approval. Waiting: ${waiting.join(', ') || 'none'}.`,
    )
  }
  const shown = ofCall.filter((approval) => approval.digest === digest)
  const latest = shown.at(-1)
  if (latest === undefined) throw mismatch(callId)
  const waiting = shown.filter(({ state }) => state === 'waiting')
  const [first] = waiting
  if (first === undefined) throw undecidable(stored, latest.approvalId, latest.state)
  if (isExpired(first, host.nowMs())) throw undecidable(stored, first.approvalId, 'expired')
  if (approve && waiting.length > 1) {
    throw new RunRefused(
      'APPROVAL_UNKNOWN',
      `${waiting.length} calls with these arguments wait under the id ${callId}. Decline them, or cancel the run.`,
    )
  }
  // What the person saw was what is sealed, and the digest is of that.
  if (approve && digestOf(argumentsOf(host, first)) !== digest) throw mismatch(callId)
  return waiting.map(({ approvalId }) => ({ approvalId, approve, message }))
}

function mismatch(callId: string): RunRefused {
  return new RunRefused(
    'APPROVAL_MISMATCH',
    `The arguments of ${callId} are not those that were shown. Nothing was decided; look at it again.`,
  )
}

function undecidable(
  stored: readonly ApprovalRecord[],
  approvalId: string,
  state: ApprovalState | 'missing',
): RunRefused {
  const callId = stored.find((approval) => approval.approvalId === approvalId)?.callId ?? approvalId
  if (state === 'expired') {
    return new RunRefused(
      'APPROVAL_EXPIRED',
      `The time to decide on ${callId} has passed. Resume the run: it will ask anew.`,
    )
  }
  if (state === 'missing' || state === 'waiting')
    return new RunRefused('APPROVAL_UNKNOWN', `No call ${callId} waits for approval.`)
  return new RunRefused('APPROVAL_DECIDED', `The call ${callId} waits no more: ${state}.`)
}
