import type { FunctionCallItem, FunctionTool, RunContext, ToolInputParameters } from '@openai/agents'
import { faithfulDigestOf } from '../canonical-json.ts'
import type { LocalDenialCode } from '../guard/decision.ts'
import type { ApprovalUse } from '../guard/journal.ts'
import { schemaDigestOf } from './schema-digest.ts'
import type { HostedRun } from './session.ts'

/** Whether a person approved exactly this call. An approval for all calls of a tool (`alwaysApprove`) does not count. */
function isCallApproved(runContext: RunContext<unknown>, toolCall: FunctionCallItem): boolean {
  const { approvals } = runContext.toJSON()
  const qualified =
    toolCall.namespace === undefined ? toolCall.name : `${toolCall.namespace}.${toolCall.name}`
  return [qualified, toolCall.name].some((name) => {
    const approved = Object.hasOwn(approvals, name) ? approvals[name]?.approved : undefined
    return Array.isArray(approved) && approved.includes(toolCall.callId)
  })
}

/** One call that may need a person's approval. */
export interface ApprovableCall {
  readonly tool: FunctionTool<unknown, ToolInputParameters, string>
  readonly surface: string
  /** Whether its first intent will use the approval up. */
  readonly hasEffects: boolean
  readonly args: unknown
  readonly runContext: RunContext<unknown>
  readonly toolCall: FunctionCallItem | undefined
  /** The hosted run that it belongs to. */
  readonly hosted: HostedRun | undefined
}

export type Approved =
  | { readonly approved: true; readonly use?: ApprovalUse }
  | { readonly approved: false; readonly code: Extract<LocalDenialCode, `APPROVAL_${string}`> }

const REQUIRED = { approved: false, code: 'APPROVAL_REQUIRED' } as const

/**
 * Whether this call may run as far as people are concerned. The SDK asks so only in its runs: a direct `invoke`, an HTTP
 * or an MCP host would run the tool without. In a hosted run only the stored approval of exactly this call counts.
 */
export async function approvalOf(call: ApprovableCall): Promise<Approved> {
  const { tool, args, runContext, toolCall, hosted } = call
  // Also a policy that has changed its mind since: what was asked once is decided by who was asked.
  const asked = toolCall !== undefined && hosted?.wasAsked(toolCall.callId) === true
  if (!asked && !(await tool.needsApproval(runContext, args, toolCall?.callId))) return { approved: true }
  // Nobody can have seen what JSON does not show whole.
  const digest = faithfulDigestOf(args)
  if (toolCall === undefined || digest === undefined) return REQUIRED
  if (hosted === undefined) return isCallApproved(runContext, toolCall) ? { approved: true } : REQUIRED
  return storedApproval(call, hosted, { callId: toolCall.callId, digest })
}

async function storedApproval(
  { tool, surface, hasEffects }: ApprovableCall,
  hosted: HostedRun,
  { callId, digest }: { readonly callId: string; readonly digest: string },
): Promise<Approved> {
  const schemaDigest = schemaDigestOf(tool)
  const use = await hosted.approvalFor({ callId, tool: tool.name, digest, schemaDigest, surface })
  if (typeof use === 'string') return { approved: false, code: use }
  if (hasEffects) return { approved: true, use }
  return (await hosted.useApproval(use)) ? { approved: true } : REQUIRED
}
