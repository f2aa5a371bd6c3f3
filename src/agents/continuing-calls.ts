import {
  RunToolApprovalItem,
  type Agent,
  type AgentOutputType,
  type FunctionCallItem,
  type RunState,
} from '@openai/agents'
import { isAgentTool, reachableAgents } from './agent-graph.ts'
import { functionToolOf } from './hosted/bound-approval.ts'
import type { AnyAgent } from './session.ts'

/**
 * Calls of agent tools whose agents are paused. They wait for nobody any more, but the SDK calls such a tool again when
 * the run goes on, and wants it approved again, and a state that is read back has no approvals.
 */
export function continuingCalls(
  state: RunState<unknown, Agent<unknown, AgentOutputType>>,
  start: AnyAgent,
): RunToolApprovalItem[] {
  const agents = reachableAgents(start)
  return pausedCalls(state.toJSON() as unknown as StateJson).flatMap(({ rawItem, agent: name }) => {
    const [agent, another] = agents.filter((one) => one.name === name)
    if (agent === undefined || another !== undefined) return []
    const tool = functionToolOf(agent, rawItem.name)
    if (tool === undefined || !isAgentTool(tool)) return []
    return [new RunToolApprovalItem(rawItem, agent, rawItem.name)]
  })
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

/** At any depth. */
function pausedCalls(json: StateJson): { rawItem: FunctionCallItem; agent: string }[] {
  const pending = Object.entries(json.pendingAgentToolRuns ?? {})
  const own = json.generatedItems.flatMap(({ type, rawItem, agent }) =>
    type === 'tool_call_item' && pending.some(([key]) => key.endsWith(`:${rawItem.callId}`))
      ? [{ rawItem, agent: agent.name }]
      : [],
  )
  return [...own, ...pending.flatMap(([, text]) => pausedCalls(JSON.parse(text) as StateJson))]
}
