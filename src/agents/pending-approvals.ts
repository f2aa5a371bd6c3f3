import type { Agent, AgentOutputType, RunState, RunToolApprovalItem } from '@openai/agents'
import { digestOf } from '../canonical-json.ts'
import { HoldpointError } from '../errors.ts'

/** A call that waits for a person. */
export interface PendingApproval {
  readonly callId: string
  readonly tool: string
  /** Parsed; the text itself where it is no JSON. */
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

export function pendingApproval(item: RunToolApprovalItem): PendingApproval {
  const args = parsedArguments(item)
  return {
    callId: callIdOf(item),
    tool: item.name ?? item.rawItem.type,
    arguments: args,
    digest: digestOf(args),
  }
}

/**
 * Applies each decision to the one call it is about, or throws and applies none: `APPROVAL_UNKNOWN` for a call that
 * does not wait, or for two that wait under the same id; `APPROVAL_MISMATCH` when the arguments are not those shown.
 */
export function applyDecisions<Context, Output extends AgentOutputType>(
  state: RunState<Context, Agent<Context, Output>>,
  decisions: readonly ApprovalDecision[],
): void {
  const items = state.getInterruptions()
  const matched = decisions.map((decision) => ({ decision, item: itemFor(decision, items) }))
  for (const { decision, item } of matched) {
    const { approve, message } = decision
    if (approve) state.approve(item)
    else state.reject(item, message === undefined ? {} : { message })
  }
}

function itemFor(
  { callId, digest }: ApprovalDecision,
  items: readonly RunToolApprovalItem[],
): RunToolApprovalItem {
  const waiting = items.filter((item) => callIdOf(item) === callId)
  if (waiting.length === 0) {
    const ids = items.map(callIdOf).join(', ') || 'none'
    throw new HoldpointError('APPROVAL_UNKNOWN', `No call ${callId} waits for approval. Waiting: ${ids}.`)
  }
  const shown =
    digest === undefined ? waiting : waiting.filter((item) => pendingApproval(item).digest === digest)
  const [item] = shown
  if (item === undefined) {
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
  return item
}

function callIdOf({ rawItem }: RunToolApprovalItem): string {
  return ('callId' in rawItem ? rawItem.callId : rawItem.id) ?? ''
}

function parsedArguments(item: RunToolApprovalItem): unknown {
  const text = item.arguments
  if (text === undefined)
    return 'action' in item.rawItem ? item.rawItem.action : (item.rawItem.providerData ?? null)
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
