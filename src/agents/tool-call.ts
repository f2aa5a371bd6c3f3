import type { FunctionTool, RunContext, ToolInputParameters } from '@openai/agents'
import type { LocalDenialCode } from '../guard/decision.ts'
import type { HoldPoint } from '../guard/guard.ts'
import { refusalOf } from '../guard/refusal.ts'
import type { Surface } from '../guard/surface.ts'
import { approvalOf, type Approved } from './approvals.ts'
import { directCallOf } from './direct-call.ts'
import { isHosted } from './hosted/hosted-tools.ts'
import { answerOf, badArgumentsAnswer, failedAnswer, refusedAnswer } from './model-text.ts'
import { applyOnDenied, callingAgent } from './on-denied.ts'
import { isParseOnly } from './parse-only.ts'
import { currentSession, type Again, type HostedRun } from './session.ts'
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
  if (isParseOnly(runContext, args)) return ''
  const direct = directCallOf(runContext)
  const who = whoCalls(runContext, details)
  const callId = who.callId ?? '-'
  who.hosted?.step({ type: 'tool_called', call_id: callId, tool: tool.sdkTool.name, arguments: args })
  const answer = await answerCall(tool, args, runContext, details, who)
  tool.surface.guard.reach('call.answered')
  who.hosted?.step({ type: 'tool_output', call_id: callId, tool: tool.sdkTool.name, ...outputStep(answer) })
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
  who: WhoCalls,
): Promise<ToolAnswer> {
  const { sdkTool, surface, onDenied, schema, body } = tool
  const issues = schema.issues(args)
  if (issues.length > 0) return badArgumentsAnswer(issues)

  const { callId, runId, caller, signal } = who
  const at: HoldPoint = { surface, boundary: 'tool', tool: sdkTool.name, callId, runId, signal }
  const denied = (code: LocalDenialCode) =>
    refusedAnswer(refusalOf(surface.guard.denyNow(at, code)), { onDenied })
  if (!who.known && isHosted(sdkTool)) return denied('NO_SESSION')
  let approved: Approved
  try {
    const hasEffects = body.effects.length > 0
    const { hosted } = who
    if ((await hosted?.mayStart({ callId, again: againOf(body.effects) })) === false)
      return denied('CALL_ABORTED')
    const toolCall = details?.toolCall
    approved = await approvalOf({
      tool: sdkTool,
      surface: surface.name,
      hasEffects,
      args,
      runContext,
      toolCall,
      hosted,
    })
  } catch (cause) {
    return failedAnswer({ surface, tool: sdkTool.name, callId, code: 'TOOL_FAILED', executed: false, cause })
  }
  if (!approved.approved) return denied(approved.code)
  const { context } = runContext
  const approval = approved.use
  const fence = who.hosted?.fence
  const request = { surface, tool: sdkTool.name, callId, runId, caller, signal, context, approval, fence }
  const outcome = await surface.guard.call(request, (call) => {
    const work = { context, signal: call.signal, callId: call.callId, runId, runContext }
    return body.run(args, call, work)
  })
  return answerOf(outcome, onDenied)
}

function againOf(effects: ToolBody['effects']): Again {
  if (effects.length === 0) return 'harmless'
  return effects.some(({ key }) => key === 'each-call') ? 'repeated' : 'recognised'
}

interface WhoCalls {
  /** False for a call outside of every session that is no direct call either. */
  readonly known: boolean
  readonly callId: string | undefined
  readonly runId: string | undefined
  readonly caller: string | undefined
  readonly signal: AbortSignal | undefined
  readonly hosted: HostedRun | undefined
}

/** A direct call says for itself; a call within a run belongs to its session. */
function whoCalls(runContext: RunContext<unknown>, details: ToolCallDetails): WhoCalls {
  const signal = details?.signal
  const direct = directCallOf(runContext)
  if (direct !== undefined) {
    const { callId, runId, caller } = direct
    return { known: true, callId, runId, caller, signal, hosted: undefined }
  }
  const session = currentSession()
  return {
    known: session !== undefined,
    callId: details?.toolCall?.callId,
    runId: session?.runId,
    caller: session?.caller,
    signal,
    hosted: session?.hosted,
  }
}

function outputStep(answer: ToolAnswer) {
  const { output } = answer
  if (answer.kind === 'bad_arguments') return { code: 'BAD_ARGUMENTS', output }
  if (answer.kind === 'output') return { request_id: answer.requestId, output }
  return { request_id: answer.body.request_id, code: answer.body.code, output }
}
