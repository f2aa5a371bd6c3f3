import type { FunctionTool, RunContext, ToolInputParameters } from '@openai/agents'
import type { HoldPoint } from '../guard/guard.ts'
import { refusalOf } from '../guard/refusal.ts'
import type { Surface } from '../guard/surface.ts'
import { lacksApproval } from './approvals.ts'
import { directCallOf } from './direct-call.ts'
import { answerOf, badArgumentsAnswer, failedAnswer, refusedAnswer } from './model-text.ts'
import { applyOnDenied, callingAgent } from './on-denied.ts'
import { currentSession } from './session.ts'
import type { OnDenied, ToolAnswer } from './tool-answer.ts'
import type { ToolBody } from './tool-body.ts'
import type { ToolSchema } from './tool-schema.ts'

export type SdkTool = FunctionTool<unknown, ToolInputParameters, string>
/** The SDK does not export the type of what it tells `execute` about a call. */
export type ToolCallDetails = Parameters<SdkTool['invoke']>[2]

export interface GuardedTool {
  readonly sdkTool: SdkTool
  readonly surface: Surface
  readonly onDenied: OnDenied
  readonly schema: ToolSchema
  readonly body: ToolBody
  readonly runOnly: readonly string[]
}

/** What the SDK runs: every path to the author's code leads through here. Throws only to abort a run. */
export async function executeGuarded(
  tool: GuardedTool,
  args: unknown,
  runContext: RunContext<unknown>,
  details: ToolCallDetails,
): Promise<string> {
  const direct = directCallOf(runContext)
  const answer = await answerCall(tool, args, runContext, details)
  if (direct !== undefined) direct.answer = answer
  const toolCall = details?.toolCall
  const agent = callingAgent(toolCall)
  if (answer.kind === 'refused' && agent !== undefined && toolCall !== undefined)
    applyOnDenied(answer, agent, runContext, toolCall.callId)
  return answer.output
}

async function answerCall(
  tool: GuardedTool,
  args: unknown,
  runContext: RunContext<unknown>,
  details: ToolCallDetails,
): Promise<ToolAnswer> {
  const { sdkTool, surface, onDenied, schema, body } = tool
  const issues = schema.issues(args)
  if (issues.length > 0) return badArgumentsAnswer(issues)

  const { callId, runId, caller, signal } = whoCalls(runContext, details)
  const at: HoldPoint = { surface, boundary: 'tool', tool: sdkTool.name, callId, runId, signal }
  try {
    if (await lacksApproval(sdkTool, args, runContext, details?.toolCall))
      return refusedAnswer(refusalOf(surface.guard.denyNow(at, 'APPROVAL_REQUIRED')), { onDenied })
  } catch (cause) {
    return failedAnswer({ surface, tool: sdkTool.name, callId, code: 'TOOL_FAILED', executed: false, cause })
  }
  const { context } = runContext
  const request = { surface, tool: sdkTool.name, callId, runId, caller, signal, context }
  const outcome = await surface.guard.call(request, (call) => {
    const work = { context, signal: call.signal, callId: call.callId, runId, runContext }
    return body.run(args, call, work)
  })
  return answerOf(outcome, onDenied)
}

/** A direct call says for itself; a call within a run belongs to its session. */
function whoCalls(runContext: RunContext<unknown>, details: ToolCallDetails) {
  const direct = directCallOf(runContext)
  if (direct !== undefined) {
    const { callId, runId, caller } = direct
    return { callId, runId, caller, signal: details?.signal }
  }
  const session = currentSession()
  return {
    callId: details?.toolCall?.callId,
    runId: session?.runId,
    caller: session?.caller,
    signal: details?.signal,
  }
}
