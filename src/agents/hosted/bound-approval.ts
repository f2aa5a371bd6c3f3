import type { FunctionCallItem, FunctionTool, RunContext } from '@openai/agents'
import { digestOf, faithfulDigestOf } from '../../canonical-json.ts'
import type { LocalDenialCode } from '../../guard/decision.ts'
import type { ApprovalUse } from '../../guard/journal.ts'
import type { Surface } from '../../guard/surface.ts'
import { isAgentTool } from '../agent-graph.ts'
import { schemaDigestOf } from '../schema-digest.ts'
import { currentSession, type AnyAgent } from '../session.ts'

/** The agent's own function tool of that name. */
export function functionToolOf(agent: AnyAgent, name: string | undefined): FunctionTool | undefined {
  const tool = agent.tools.find((one) => one.type === 'function' && one.name === name)
  return tool as FunctionTool | undefined
}

/** One call of a tool of somebody else, at its gate. */
export interface GatedCall {
  readonly surface: Surface
  readonly agent: AnyAgent
  readonly context: RunContext<unknown>
  readonly toolCall: FunctionCallItem
}

/**
 * For the gate of a tool that somebody else made, before it asks the authority: in a hosted run a call that needs
 * approval must have one in the store, for exactly these arguments, and uses it up here. Gives the code of the denial
 * when it has none, and undefined when the gate may go on; always so outside of hosted runs.
 */
export async function boundApproval({
  surface,
  agent,
  context,
  toolCall,
}: GatedCall): Promise<Extract<LocalDenialCode, `APPROVAL_${string}`> | undefined> {
  const hosted = currentSession()?.hosted
  if (hosted === undefined) return undefined
  const { callId, name, arguments: text } = toolCall
  const tool = functionToolOf(agent, name)
  const args = parsedText(text) as string
  const needed = hosted.wasAsked(callId) || (await tool?.needsApproval(context, args, callId)) === true
  if (!needed) return undefined
  const use = await hosted.approvalFor({
    callId,
    tool: name,
    digest: digestOf(shownOf(text)),
    schemaDigest: schemaDigestOf(tool ?? { name }),
    surface: surface.name,
  })
  if (typeof use === 'string') return use
  return (await hosted.useApproval(continued(use, tool))) ? undefined : 'APPROVAL_REQUIRED'
}

/**
 * An agent behind a tool that pauses goes on by its tool being called again, in the same call: one use of the approval,
 * since everything the agent does has hold points of its own.
 */
function continued(use: ApprovalUse, tool: FunctionTool | undefined): ApprovalUse {
  return tool !== undefined && isAgentTool(tool) ? { ...use, useToken: 'agent-tool' } : use
}

/**
 * What a person is shown of arguments that a tool gets as the model sent them: parsed, or the text itself where JSON does
 * not show whole what it stands for (`1e999` is parsed as Infinity, and would be shown as null).
 */
export function shownOf(text: string): unknown {
  const parsed = parsedText(text)
  return faithfulDigestOf(parsed) === undefined ? text : parsed
}

function parsedText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
