import type { RunContext, Tool } from '@openai/agents'
import type { LocalDenialCode } from '../guard/decision.ts'
import { refusalOf } from '../guard/refusal.ts'
import { actionApproval } from './action-approval.ts'
import { misplaced, type Gate } from './gates.ts'
import { GuardDeniedError } from './guard-denied.ts'
import { refusedAnswer, type RefusedAnswer } from './model-text.ts'
import { currentSession, type AnyAgent, type HostedRun, type Session } from './session.ts'
import type { OnDenied } from './tool-answer.ts'
import { traceQuestion } from './trace.ts'

/** The kinds of local tools that are no function tools: what they run is told neither its call nor its agent. */
export type ActionTool = Extract<Tool<unknown>, { type: 'shell' | 'apply_patch' | 'computer' }>

/** One call of such a tool, from its start to its end. */
export interface ActionCall {
  readonly agent: AnyAgent
  readonly runContext: RunContext<unknown>
  readonly tool: ActionTool
  readonly callId: string
  /** What the person who approves is shown. */
  readonly action: unknown
  /** Ends the run at the end of the call. */
  denial: GuardDeniedError | undefined
  /** Asked once, since an approval is used up. */
  approval?: Promise<LocalDenialCode | undefined>
}

const ACTION_KINDS: readonly string[] = ['shell', 'apply_patch', 'computer']

export function isActionTool(tool: Tool<unknown>): tool is ActionTool {
  return ACTION_KINDS.includes(tool.type)
}

/** What a call of such a tool is to do, as the model asked for it. Undefined for every other item. */
export function actionOf(item: object): unknown {
  if ('operation' in item) return item.operation
  if ('actions' in item && item.actions !== undefined) return item.actions
  return 'action' in item ? item.action : undefined
}

/** By the very object that the shell or the editor is given. */
const byAction = new WeakMap<object, ActionCall>()
/** The calls that are running, by run context: a computer is given no more than that. */
const running = new WeakMap<object, ActionCall[]>()
const watched = new WeakSet<AnyAgent>()

/**
 * Notes which call each action of the agent belongs to. The end of a call is also the one place from which a run can
 * be ended: what a shell, an editor or a computer throws, the SDK turns into a result.
 */
export function watchActions(agent: AnyAgent): void {
  if (watched.has(agent)) return
  watched.add(agent)
  agent.on('agent_tool_start', (runContext, tool, { toolCall }) => {
    if (!isActionTool(tool) || !('callId' in toolCall)) return
    const action = actionOf(toolCall)
    const call: ActionCall = { agent, runContext, tool, callId: toolCall.callId, action, denial: undefined }
    if (typeof action === 'object' && action !== null) byAction.set(action, call)
    running.set(runContext, [...(running.get(runContext) ?? []), call])
  })
  agent.on('agent_tool_end', (runContext, tool, _output, { toolCall }) => {
    const calls = running.get(runContext) ?? []
    const ended = calls.find((call) => call.tool === tool && call.action === actionOf(toolCall))
    if (ended === undefined) return
    running.set(
      runContext,
      calls.filter((call) => call !== ended),
    )
    if (ended.denial !== undefined) throw ended.denial
  })
}

/** The call that a shell or an editor was given this action for. */
export function callOfAction(action: unknown): ActionCall | undefined {
  return typeof action === 'object' && action !== null ? byAction.get(action) : undefined
}

/** The call that a computer tool is at. Undefined also when agents of one run are at several: nobody can tell them apart. */
export function callOfComputer(tool: ActionTool, runContext: unknown): ActionCall | undefined {
  if (typeof runContext !== 'object' || runContext === null) return undefined
  const calls = (running.get(runContext) ?? []).filter((call) => call.tool === tool)
  return calls.length === 1 ? calls[0] : undefined
}

export interface ActionAt {
  readonly gate: Gate
  readonly tool: string
  readonly call: ActionCall | undefined
  readonly onDenied: OnDenied
  /** Why the run or people keep it back. Default: what needs approval must have it. */
  readonly keptBack?: (hosted: HostedRun | undefined) => Promise<LocalDenialCode | undefined>
}

export type ActionOutcome<T> =
  | { readonly allowed: true; readonly value: T }
  | { readonly allowed: false; readonly answer: RefusedAnswer; readonly denial: GuardDeniedError }

/** Asks at `tool` and starts `body` in the tick of the permit (G2, G3). */
export async function gateAction<T>(
  { gate, tool, call, onDenied, keptBack }: ActionAt,
  body: () => T | Promise<T>,
): Promise<ActionOutcome<T>> {
  const surface = gate.surfaceOf(tool)
  const { guard } = surface
  guard.observe(traceQuestion)
  const session = currentSession()
  const at = {
    surface,
    boundary: 'tool',
    tool,
    callId: call?.callId,
    runId: session?.runId,
    signal: session?.signal,
  } as const
  const code =
    misplaced(gate, surface, session !== undefined) ??
    (keptBack === undefined
      ? await actionApproval(session?.hosted, call, surface.name)
      : await keptBack(session?.hosted))
  const outcome =
    code === undefined
      ? await guard.run(at, body)
      : { allowed: false as const, decision: guard.denyNow(at, code) }
  if (outcome.allowed) return outcome
  const answer = refusedAnswer(refusalOf(outcome.decision), { onDenied })
  const denial = new GuardDeniedError(answer.body)
  endRun(answer, denial, session, call)
  return { allowed: false, answer, denial }
}

/**
 * What the denial does to the run. A turn of these tools alone cannot be the last one of a run (the SDK asks only the
 * results of function tools about that), so in a plain run `stop` aborts it.
 */
function endRun(
  answer: RefusedAnswer,
  denial: GuardDeniedError,
  session: Session | undefined,
  call: ActionCall | undefined,
): void {
  const onDenied = answer.body.on_denied
  if (onDenied === 'tell') return
  if (onDenied === 'stop' && session !== undefined) {
    session.stop(denial)
    return
  }
  session?.abort(denial)
  if (call !== undefined) call.denial ??= denial
}
