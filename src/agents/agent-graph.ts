import { Agent, RunContext, RunState, type Tool } from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import type { AnyAgent } from './session.ts'

/** Agents behind tools that the SDK itself no longer knows them of, such as copies of an `asTool()` tool. */
const named = new WeakMap<object, AnyAgent>()

/**
 * Every agent that a run of this one may reach: by handoffs, and behind `asTool()` tools. The SDK walks this graph
 * itself whenever it serializes a run, and tells the run context about it; it exports no other way to learn which agent
 * is behind a tool. A version that no longer does so tells nothing: then every such tool is one whose agent is not
 * known, and refused.
 */
export function reachableAgents(start: AnyAgent): AnyAgent[] {
  const seen = new Set<AnyAgent>()
  const waiting = [start]
  for (let agent = waiting.pop(); agent !== undefined; agent = waiting.pop()) {
    if (seen.has(agent)) continue
    for (const one of new Set([...directlyReachable(agent), ...agentsOfState(agent)])) {
      if (one !== agent && !seen.has(one)) waiting.push(one)
    }
    seen.add(agent)
  }
  return [...seen]
}

function directlyReachable(agent: AnyAgent): AnyAgent[] {
  return [
    ...agent.handoffs.map((handoff) => (handoff instanceof Agent ? handoff : handoff.agent) as AnyAgent),
    ...agent.tools.flatMap((tool) => named.get(tool) ?? []),
  ]
}

/** True for what `asTool()` made, and for copies of it. */
export function isAgentTool(tool: object): boolean {
  return typeof Reflect.get(tool, 'on') === 'function'
}

/** True for an agent tool whose agent nobody can tell. */
export function hidesItsAgent(tool: Tool<unknown>): boolean {
  if (tool.type !== 'function' || !isAgentTool(tool)) return false
  return !named.has(tool) && agentsOfState(new Agent({ name: 'holdpoint', tools: [tool] })).length < 2
}

/** Says which agent is behind the tools of these names, where the SDK does not know it. */
export function nameInnerAgents(
  tools: readonly Tool<unknown>[],
  innerAgents: Readonly<Record<string, AnyAgent>>,
): void {
  for (const [name, agent] of Object.entries(innerAgents)) {
    const found = tools.filter((tool) => tool.name === name)
    if (found.length === 0) {
      throw new GuardMisconfiguredError(
        `innerAgents names '${name}', but there is no tool of that name here.`,
      )
    }
    for (const tool of found) named.set(tool, agent)
  }
}

class AgentListener extends RunContext<undefined> {
  heard: readonly AnyAgent[] = []

  /** What the SDK calls when it serializes a run: with every agent of its graph. */
  _toJSONForRunState(identities: ReadonlyMap<AnyAgent, string>): object {
    this.heard = [...identities.keys()]
    return this.toJSON()
  }
}

function agentsOfState(start: AnyAgent): readonly AnyAgent[] {
  const listener = new AgentListener(undefined)
  new RunState(listener, '', start as unknown as Agent<undefined>, 1).toJSON()
  return listener.heard
}
