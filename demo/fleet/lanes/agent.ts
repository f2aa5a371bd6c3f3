import { Agent, setTracingDisabled } from '@openai/agents'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents/testing'
import { runAgent } from 'holdpoint'
import { SERVER_SURFACE } from '../topology.ts'
import { fleetTool } from './fleet-tool.ts'
import { effectOf, pause, unitsOf, type Lane, type LaneContext, type Unit } from './lane.ts'

interface AgentTool {
  readonly name: string
  readonly on: string
  readonly effect?: 'payment' | 'email'
}
const TOOLS: readonly AgentTool[] = [
  { name: 'lookup_invoice', on: SERVER_SURFACE },
  { name: 'send_payment', on: 'payments', effect: 'payment' },
  { name: 'send_email', on: 'email', effect: 'email' },
]

/**
 * Runs of a real agent on a scripted model: it looks an invoice up, pays it and mails a receipt. Each model call and each
 * tool call asks; a tool that is denied tells the model, which goes on with the next.
 */
export const agentLane: Lane = async (context) => {
  const { guard, spec, paceMs, leaving } = context
  setTracingDisabled(true)
  const tools = TOOLS.map((one) => toolOf(one, context))
  const next = unitsOf(context)
  while (!leaving.aborted) {
    await pause(paceMs, leaving)
    if (leaving.aborted) return
    const unit = next()
    const agent = new Agent({ name: spec.name, model: scriptFor(unit), tools })
    try {
      await runAgent(guard, agent, `Pay ${unit.id}`, { runId: unit.id, signal: leaving })
    } catch (error) {
      if (!leaving.aborted) throw error
    }
  }
}

function scriptFor(unit: Unit): ScriptedModel {
  const calls = TOOLS.map(({ name }) => functionCall(name, { ...unit }, { callId: `${name}/${unit.id}` }))
  return new ScriptedModel([
    ...calls.map((call) => [call]),
    [assistantMessage('Done, as far as I was allowed.')],
  ])
}

function toolOf({ name, on, effect }: AgentTool, context: LaneContext) {
  const surface = context.guard.surface(on)
  const book = context.replica.lane(name)
  book.entersAt(surface.deviceIds)
  const own = effect && effectOf({ ...context, book, spec: { ...context.spec, name, effect } })
  return fleetTool(surface, { name, description: `${name} of the fleet`, book, effect: own })
}
