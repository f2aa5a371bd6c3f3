import type { Agent, AgentOutputType, RunState } from '@openai/agents'
import { pendingCall } from '../pending-approvals.ts'
import type { AnyAgent } from '../session.ts'
import { approveContinuing } from './agent-tool-approval.ts'
import type { Host } from './host.ts'
import type { HostedAgent } from './hosted-agent.ts'
import { approvalOn, isExpired } from './hosted-session.ts'

type State = RunState<unknown, Agent<unknown, AgentOutputType>>

/**
 * Only what the store knows counts; a call without a decision that still holds goes on waiting. Gives the ids of the
 * calls that go on.
 */
export async function applyStored(
  { store, nowMs }: Host,
  hosted: HostedAgent,
  runId: string,
  state: State,
): Promise<ReadonlySet<string>> {
  const approved = new Set<string>()
  const stored = await store.approvalsOf(runId)
  for (const item of state.getInterruptions()) {
    const call = await pendingCall(item)
    const approval = approvalOn(stored, call)
    if (approval === undefined) continue
    if (approval.state === 'declined') state.reject(item, { message: approval.message ?? DECLINED })
    if (isExpired(approval, nowMs())) continue
    // A call that used its approval up before its process died goes on: the journal says what is left to do.
    if (approval.state !== 'approved' && !(approval.state === 'used' && call.hasEffects)) continue
    state.approve(item)
    approved.add(call.callId)
  }
  if (stored.some((one) => one.state === 'used'))
    await approveContinuing(state, hosted.agent as AnyAgent, stored)
  return approved
}

const DECLINED = 'A person declined this call. It was not carried out; do not try it again.'
