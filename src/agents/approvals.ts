import type { FunctionCallItem, FunctionTool, RunContext, ToolInputParameters } from '@openai/agents'

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

/**
 * Whether a person must approve this call and has not. The SDK asks so only in its runs: a direct `invoke`, an HTTP
 * or an MCP host would run the tool without.
 */
export async function lacksApproval(
  tool: FunctionTool<unknown, ToolInputParameters, string>,
  args: unknown,
  runContext: RunContext<unknown>,
  toolCall: FunctionCallItem | undefined,
): Promise<boolean> {
  const needed = await tool.needsApproval(runContext, args, toolCall?.callId)
  return needed && (toolCall === undefined || !isCallApproved(runContext, toolCall))
}
