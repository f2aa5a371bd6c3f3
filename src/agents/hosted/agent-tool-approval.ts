import type { Agent, AgentOutputType, RunState } from '@openai/agents'
import { continuingCalls } from '../continuing-calls.ts'
import { pendingCall } from '../pending-approvals.ts'
import type { AnyAgent } from '../session.ts'
import { approvalOn } from './hosted-session.ts'
import type { ApprovalRecord } from './run-store.ts'

/**
 * An agent tool that a person has approved goes on when its agent had paused. Only while that agent is paused: a call
 * that would begin anew is asked about anew.
 */
export async function approveContinuing(
  state: RunState<unknown, Agent<unknown, AgentOutputType>>,
  start: AnyAgent,
  stored: readonly ApprovalRecord[],
): Promise<void> {
  for (const item of continuingCalls(state, start))
    if (approvalOn(stored, await pendingCall(item))?.state === 'used') state.approve(item)
}
