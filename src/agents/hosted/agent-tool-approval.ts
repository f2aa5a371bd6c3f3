import {
  RunToolApprovalItem,
  type Agent,
  type AgentOutputType,
  type FunctionCallItem,
  type RunState,
} from '@openai/agents'
import { isAgentTool, reachableAgents } from '../agent-graph.ts'
import { pendingCall } from '../pending-approvals.ts'
import type { AnyAgent } from '../session.ts'
import { functionToolOf } from './bound-approval.ts'
import { approvalOn } from './hosted-session.ts'
import type { ApprovalRecord } from './run-store.ts'

/**
 * An agent tool that a person has approved goes on when its agent had paused: its call no longer waits, but the SDK
 * calls the tool again and wants it approved, and the state keeps no approvals. Only while the agent is paused: a call
 * that would begin anew is asked about anew.
 */
export async function approveContinuing(
  state: RunState<unknown, Agent<unknown, AgentOutputType>>,
  start: AnyAgent,
  stored: readonly ApprovalRecord[],
): Promise<void> {
  const agents = reachableAgents(start)
  for (const { rawItem, agent: name } of continuingCalls(state.toJSON() as unknown as StateJson)) {
    const [agent, another] = agents.filter((one) => one.name === name)
    if (agent === undefined || another !== undefined) continue
    const tool = functionToolOf(agent, rawItem.name)
    if (tool === undefined || !isAgentTool(tool)) continue
    const item = new RunToolApprovalItem(rawItem, agent, rawItem.name)
    if (approvalOn(stored, await pendingCall(item))?.state === 'used') state.approve(item)
  }
}

interface StateJson {
  readonly generatedItems: readonly {
    readonly type: string
    readonly rawItem: FunctionCallItem
    readonly agent: { readonly name: string }
  }[]
  /** The runs of paused agents, as text, by tool and call id. */
  readonly pendingAgentToolRuns?: Readonly<Record<string, string>>
}

/** The calls of agent tools whose agents are paused, at any depth. */
function continuingCalls(json: StateJson): { rawItem: FunctionCallItem; agent: string }[] {
  const pending = Object.entries(json.pendingAgentToolRuns ?? {})
  const own = json.generatedItems.flatMap(({ type, rawItem, agent }) =>
    type === 'tool_call_item' && pending.some(([key]) => key.endsWith(`:${rawItem.callId}`))
      ? [{ rawItem, agent: agent.name }]
      : [],
  )
  return [...own, ...pending.flatMap(([, text]) => continuingCalls(JSON.parse(text) as StateJson))]
}
