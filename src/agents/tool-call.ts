import type { FunctionCallItem, FunctionTool, RunContext, ToolInputParameters } from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
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
import { rememberSurface, type ToolPlace } from './tool-place.ts'
import type { ToolSchema } from './tool-schema.ts'

export type SdkTool = FunctionTool<unknown, ToolInputParameters, string>
/** The SDK does not export the type of what it tells `execute` about a call. */
export type ToolCallDetails = Parameters<SdkTool['invoke']>[2]

export interface GuardedTool {
  readonly sdkTool: SdkTool
  readonly place: ToolPlace
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
  const toolCall = details?.toolCall
  const answer = await answerCall(tool, { args, runContext, toolCall, who })
  tool.place.guard.reach('call.answered')
  who.hosted?.step({ type: 'tool_output', call_id: callId, tool: tool.sdkTool.name, ...outputStep(answer) })
  if (direct !== undefined) direct.answer = answer
  const agent = callingAgent(toolCall)
  if (answer.kind === 'refused' && agent !== undefined && toolCall !== undefined)
    applyOnDenied(answer, agent, runContext, toolCall.callId)
  return answer.output
}

interface Call {
  readonly args: unknown
  readonly runContext: RunContext<unknown>
  readonly toolCall: FunctionCallItem | undefined
  readonly who: WhoCalls
}

async function answerCall(tool: GuardedTool, call: Call): Promise<ToolAnswer> {
  const { place, schema } = tool
  const issues = schema.issues(call.args)
  if (issues.length > 0) return badArgumentsAnswer(issues)
  const surface = place.surfaceOf(call.args)
  if (surface === undefined) return refuseUnplaced(tool, call)
  rememberSurface(call.toolCall, surface)
  return answerOn(surface, tool, call)
}

/** On no surface nobody could stop it, so it does not start (G4). */
function refuseUnplaced(tool: GuardedTool, { who }: Call): ToolAnswer {
  const { guard, surfaces, unchosen } = tool.place
  const line = { tool: tool.sdkTool.name, call_id: who.callId, run_id: who.runId }
  guard.log.error(
    { ...line, surfaces: surfaces.map(({ name }) => name) },
    'the arguments of this call name none of the surfaces that its tool may stand on',
  )
  return denied(tool, holdPoint(unchosen, tool, who), 'GUARD_MISCONFIGURED')
}

async function answerOn(
  surface: Surface,
  tool: GuardedTool,
  { args, runContext, toolCall, who }: Call,
): Promise<ToolAnswer> {
  const { sdkTool, place, onDenied, body } = tool
  const { guard } = place
  const { callId, runId, caller, signal, hosted } = who
  const at = holdPoint(surface, tool, who)
  if (!who.known && isHosted(sdkTool)) return denied(tool, at, 'NO_SESSION')
  let approved: Approved
  try {
    const hasEffects = body.effects.length > 0
    if ((await hosted?.mayStart({ callId, again: againOf(body.effects) })) === false)
      return denied(tool, at, 'CALL_ABORTED')
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
  if (!approved.approved) return denied(tool, at, approved.code)
  const { context } = runContext
  const approval = approved.use
  const fence = hosted?.fence
  const request = { surface, tool: sdkTool.name, callId, runId, caller, signal, context, approval, fence }
  const outcome = await guard.call(request, (call) => {
    // G1: what changes the arguments meanwhile, such as needsApproval, must not lead past the stop of another surface.
    if (place.surfaceOf(args) !== surface)
      throw new GuardMisconfiguredError(
        `Tool "${sdkTool.name}": its arguments were changed while it was asked for.`,
      )
    const work = { context, signal: call.signal, callId: call.callId, runId, runContext }
    return body.run(args, call, work)
  })
  return answerOf(outcome, onDenied)
}

function holdPoint(
  surface: Surface,
  { sdkTool }: GuardedTool,
  { callId, runId, signal }: WhoCalls,
): HoldPoint {
  return { surface, boundary: 'tool', tool: sdkTool.name, callId, runId, signal }
}

function denied({ place, onDenied }: GuardedTool, at: HoldPoint, code: LocalDenialCode): ToolAnswer {
  return refusedAnswer(refusalOf(place.guard.denyNow(at, code)), { onDenied })
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
