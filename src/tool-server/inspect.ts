import type { Tool } from '@openai/agents'
import { Router } from 'express'

import { reachableAgents } from '../agents/agent-graph.ts'
import { isActionTool } from '../agents/action-call.ts'
import { gateOf } from '../agents/gatables.ts'
import { gateOfServer } from '../agents/guard-agent.ts'
import type { HostedAgent } from '../agents/hosted/hosted-agent.ts'
import type { AnyAgent } from '../agents/session.ts'
import { guardedToolCore } from '../agents/tool-core.ts'
import type { GuardedToolCore } from '../agents/tool-answer.ts'
import { codeOf, effectSurfaces } from '../guard/effect.ts'
import type { Guard } from '../guard/guard.ts'
import { sendJson } from '../http.ts'
import { TOOL_SERVER_PATHS, type InspectBody } from '../tool-server-wire.ts'
import type { ToolServerAbout } from './about.ts'
import { requireScope } from './auth.ts'
import { stopStreamState } from './stop-stream-state.ts'

export interface InspectOptions {
  readonly guard: Guard
  readonly tools: ReadonlyMap<string, GuardedToolCore>
  readonly agents: readonly HostedAgent[]
  readonly about: ToolServerAbout
}

type InspectedTool = InspectBody['tools'][number]

/** `GET /inspect`: how this server is set up, for callers with `runs:approve`. */
export function inspectRoute(options: InspectOptions): Router {
  const router = Router({ caseSensitive: true, strict: true })
  router.get(TOOL_SERVER_PATHS.inspect, requireScope('runs:approve'), async (_request, response) =>
    sendJson(response, 200, await inspected(options)),
  )
  return router
}

async function inspected({ guard, tools, agents, about }: InspectOptions): Promise<InspectBody> {
  const { serverDeviceId, clock } = guard
  const { devices, timeoutMs, latencyMs } = guard.presence()
  return {
    replica: guard.stopStream?.replica ?? serverDeviceId,
    serverDeviceId,
    surfaces: guard.surfaces.map(({ name, deviceIds }) => ({ name, deviceIds: [...deviceIds] })),
    profile: about.profile ?? 'custom',
    authority: authorityOf(guard, about),
    now: new Date(clock.now().wallMs).toISOString(),
    timeoutMs,
    latencyMs: latencyMs ?? null,
    stopStream: stopStreamState(guard, about),
    inFlight: [...devices],
    tools: [...[...tools.values()].map((core) => guardedTool(core, null)), ...agents.flatMap(toolsOf)],
    journal: { ...journalOf(about), unknownOutcomes: await unknownOutcomes(guard) },
  }
}

function authorityOf({ lastAnswer }: Guard, { origin }: ToolServerAbout): InspectBody['authority'] {
  return { origin: origin ?? null, answered: lastAnswer?.answered ?? null, code: lastAnswer?.code ?? null }
}

function journalOf({ journal }: ToolServerAbout): Omit<InspectBody['journal'], 'unknownOutcomes'> {
  const { kind = 'custom', journalMode = null, synchronous = null } = journal ?? {}
  return { kind, journalMode, synchronous }
}

/** Null when the journal cannot tell. */
async function unknownOutcomes({ journal }: Guard): Promise<number | null> {
  try {
    return await journal.countUnknown()
  } catch {
    return null
  }
}

function guardedTool(core: GuardedToolCore, agent: string | null): InspectedTool {
  const { name, effects } = core
  const surfaces = core.surfaces.map((surface) => surface.name)
  return {
    name,
    surfaces,
    guarded: true,
    agent,
    effects: effects.map((effect) => ({
      name: effect.name,
      kind: effect.kind,
      surfaces: effect.surface === undefined ? surfaces : [...effectSurfaces(effect)],
      key: effect.key === 'each-call' ? 'each-call' : 'business',
      reconcile: codeOf(effect).reconcile !== undefined,
      onStop: effect.onStop,
    })),
  }
}

/** Of a hosted agent and of those that it hands off to or uses. */
function toolsOf({ agent, name: given }: HostedAgent): InspectedTool[] {
  const start = agent as unknown as AnyAgent
  return reachableAgents(start).flatMap((one) => {
    const name = one === start ? (given ?? one.name) : one.name
    return [
      ...one.tools.map((tool) => inspectedTool(tool, name)),
      ...one.mcpServers.map((server) =>
        // On which surface each of its tools is, is known at its call.
        foreign(`mcp:${server.name}`, name, gateOfServer(server) === undefined ? undefined : 'by tool'),
      ),
    ]
  })
}

function inspectedTool(tool: Tool<unknown>, agent: string): InspectedTool {
  const core = guardedToolCore(tool)
  if (core !== undefined) return guardedTool(core, agent)
  const isLocal = tool.type === 'function' || isActionTool(tool)
  return foreign(tool.name, agent, isLocal ? gateOf(tool)?.surfaceOf(tool.name).name : undefined)
}

/** A tool that somebody else made: gated on a surface, or not at all. */
function foreign(name: string, agent: string, surface: string | undefined): InspectedTool {
  return {
    name,
    surfaces: surface === undefined ? [] : [surface],
    guarded: surface !== undefined,
    agent,
    effects: [],
  }
}
