import type { Agent, AgentOutputType, RunState, RunToolApprovalItem, Tool } from '@openai/agents'
import { digestOf, faithfulDigestOf } from '../canonical-json.ts'
import { HoldpointError } from '../errors.ts'
import { SERVER_SURFACE, type Surface } from '../guard/surface.ts'
import { actionOf } from './action-call.ts'
import { continuingCalls } from './continuing-calls.ts'
import { gateOf } from './gatables.ts'
import { functionToolOf, shownOf } from './hosted/bound-approval.ts'
import type { ApprovalBinding } from './hosted/run-store.ts'
import { schemaDigestOf } from './schema-digest.ts'
import type { AnyAgent } from './session.ts'
import type { GuardedToolCore } from './tool-answer.ts'
import { guardedToolCore } from './tool-core.ts'

/** A call that waits for a person. */
export interface PendingApproval {
  readonly callId: string
  readonly tool: string
  /**
   * Parsed as the tool will get them, defaults included. The text of the model, parsed where JSON shows that whole, when
   * it is no JSON or parses into what JSON does not show whole (a Map, a non-finite number): a guarded tool answers such
   * a call with `APPROVAL_REQUIRED`, whatever was decided.
   */
  readonly arguments: unknown
  /** SHA-256 of the canonical JSON of `arguments`: what the person saw is what must run. */
  readonly digest: string
}

/** What a person decided about one pending call. There is no approval for all calls of a tool. */
export interface ApprovalDecision {
  readonly callId: string
  readonly approve: boolean
  /** With a decline: what the model is told. */
  readonly message?: string | undefined
  /** The digest of the arguments that were shown. With another pending digest nothing runs. */
  readonly digest?: string | undefined
}

/** A call that waits, with all that an approval of it is bound to. */
export interface PendingCall extends ApprovalBinding, PendingApproval {
  /** Whether its first intent will use the approval up. */
  readonly hasEffects: boolean
}

/** The arguments are those that will run: parsed as the SDK will, defaults included. */
export async function pendingCall(item: RunToolApprovalItem): Promise<PendingCall> {
  const tool = toolOf(item)
  const core = guardedToolCore(tool)
  const name = tool?.name ?? item.name ?? item.rawItem.type
  const parsed = item.arguments === undefined ? undefined : await core?.parse(item.arguments)
  return {
    callId: callIdOf(item),
    tool: name,
    ...shownArguments(item, parsed),
    schemaDigest: schemaDigestOf(tool?.type === 'function' ? tool : { name }),
    surface:
      (core === undefined ? surfaceAtGate(tool, name) : surfaceOfCall(core, parsed))?.name ?? SERVER_SURFACE,
    hasEffects: core !== undefined && core.effects.length > 0,
  }
}

function surfaceAtGate(tool: Tool<unknown> | undefined, name: string): Surface | undefined {
  return (tool === undefined ? undefined : gateOf(tool))?.surfaceOf(name)
}

/** The surface that the call will stand on. A call without one, or with arguments that do not fit, never runs. */
function surfaceOfCall({ surfaces, surfaceOf }: GuardedToolCore, parsed: Parsed): Surface | undefined {
  if (parsed !== undefined) return surfaceOf(parsed.arguments)
  return surfaces.length === 1 ? surfaces[0] : undefined
}

type Parsed = Awaited<ReturnType<GuardedToolCore['parse']>>

export async function pendingApproval(item: RunToolApprovalItem): Promise<PendingApproval> {
  const { callId, tool, arguments: args, digest } = await pendingCall(item)
  return { callId, tool, arguments: args, digest }
}

/**
 * Applies each decision to the one call it is about, or throws and applies none: `APPROVAL_UNKNOWN` for a call that
 * does not wait, or for two that wait under the same id; `APPROVAL_MISMATCH` when the arguments are not those shown.
 * A decision on an agent tool counts as long as its agent is paused.
 */
export async function applyDecisions<Context, Output extends AgentOutputType>(
  agent: Agent<Context, Output>,
  state: RunState<Context, Agent<Context, Output>>,
  decisions: readonly ApprovalDecision[],
): Promise<void> {
  const anyState = state as unknown as RunState<unknown, Agent<unknown, AgentOutputType>>
  const items = [...state.getInterruptions(), ...continuingCalls(anyState, agent as unknown as AnyAgent)]
  const waiting = await Promise.all(items.map(async (item) => ({ item, ...(await pendingApproval(item)) })))
  const matched = decisions.map((decision) => ({ decision, item: itemFor(decision, waiting) }))
  for (const { decision, item } of matched) {
    const { approve, message } = decision
    if (approve) state.approve(item)
    else state.reject(item, message === undefined ? {} : { message })
  }
}

interface WaitingItem extends PendingApproval {
  readonly item: RunToolApprovalItem
}

function itemFor({ callId, digest }: ApprovalDecision, items: readonly WaitingItem[]): RunToolApprovalItem {
  const waiting = items.filter((item) => item.callId === callId)
  if (waiting.length === 0) {
    const ids = items.map((item) => item.callId).join(', ') || 'none'
    throw new HoldpointError('APPROVAL_UNKNOWN', `No call ${callId} waits for approval. Waiting: ${ids}.`)
  }
  const shown = digest === undefined ? waiting : waiting.filter((item) => item.digest === digest)
  const [first] = shown
  if (first === undefined) {
    throw new HoldpointError(
      'APPROVAL_MISMATCH',
      `The arguments of ${callId} are not those that were shown. Nothing was run; show them again and ask again.`,
    )
  }
  if (shown.length > 1) {
    throw new HoldpointError(
      'APPROVAL_UNKNOWN',
      `${shown.length} calls wait under the id ${callId}. Say which one by its digest.`,
    )
  }
  return first.item
}

function callIdOf({ rawItem }: RunToolApprovalItem): string {
  return ('callId' in rawItem ? rawItem.callId : rawItem.id) ?? ''
}

/** A shell, an editor or a computer is called without a name: there the item has it. */
function toolOf(item: RunToolApprovalItem): Tool<unknown> | undefined {
  const agent = item.agent as unknown as AnyAgent
  const { rawItem } = item
  if (rawItem.type === 'function_call')
    return functionToolOf(agent, rawItem.name) as Tool<unknown> | undefined
  return agent.tools.find(({ name }) => name === item.name)
}

function shownArguments(item: RunToolApprovalItem, parsed: Parsed) {
  const text = item.arguments
  if (text === undefined) return shownAction(actionOf(item.rawItem) ?? item.rawItem.providerData ?? null)
  const digest = faithfulDigestOf(parsed?.arguments)
  if (parsed !== undefined && digest !== undefined) return { arguments: parsed.arguments, digest }
  // Arguments that JSON does not show whole: such a call of a guarded tool cannot be approved, and never runs.
  const shown = shownOf(text)
  return { arguments: shown, digest: digestOf(shown) }
}

/** An action that is not shown cannot be approved in a hosted run. */
function shownAction(action: unknown) {
  const digest = faithfulDigestOf(action)
  if (digest !== undefined) return { arguments: action, digest }
  return { arguments: NOT_SHOWN, digest: digestOf(NOT_SHOWN) }
}

const NOT_SHOWN = 'This action cannot be shown whole as JSON, so it cannot be approved. Decline it.'
