import { Agent, type Handoff } from '@openai/agents'
import { gateAction } from './action-call.ts'
import { gateMethods, gateOfMethods, type Gate } from './gates.ts'
import type { AnyAgent, HostedRun } from './session.ts'

/** Any handoff, whatever its agent. */
export type AnyHandoff = Handoff<unknown, AnyAgent['outputType']>

export const HANDOFF_METHODS = ['onInvokeHandoff'] as const

/**
 * What `handoff()` made: it may run code of its author's with the arguments of the model, and nobody can tell whether it
 * does. For an agent that is given plainly the SDK makes a handoff that only hands off.
 */
export function handoffsOf(agent: AnyAgent): readonly AnyHandoff[] {
  return agent.handoffs.filter((one): one is AnyHandoff => !(one instanceof Agent))
}

/**
 * A handoff asks before it runs. It has no output in which a denial could be told, and every end of it is a success to
 * the model: so a denial ends the run, as with `onDenied: 'stop'`, or rejects it, as with `abort`.
 */
export function gateHandoff(handoff: AnyHandoff, gate: Gate): void {
  gateMethods(handoff, HANDOFF_METHODS, gate, async (body) => {
    const onDenied = gate.onDenied === 'abort' ? 'abort' : 'stop'
    const at = { gate, tool: handoff.toolName, call: undefined, onDenied, keptBack: unclaimed } as const
    const outcome = await gateAction(at, body)
    if (!outcome.allowed) throw outcome.denial
    return outcome.value
  })
}

/** Undefined when something in it would go past the gate. */
export function gateOfHandoff(handoff: AnyHandoff): Gate | undefined {
  return gateOfMethods(handoff, HANDOFF_METHODS)
}

/** The SDK asks nobody to approve a handoff, and does not tell it the id of its call. */
async function unclaimed(hosted: HostedRun | undefined) {
  const mayStart = await hosted?.mayStart({ callId: undefined, again: 'repeated' })
  return mayStart === false ? 'CALL_ABORTED' : undefined
}
