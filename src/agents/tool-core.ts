import type { FunctionTool } from '@openai/agents'
import { isTooDeep, MAX_JSON_DEPTH } from '../canonical-json.ts'
import { refusalOf } from '../guard/refusal.ts'
import { directRunContext, type DirectCall } from './direct-call.ts'
import { badArgumentsAnswer, failedAnswer, refusedAnswer } from './model-text.ts'
import type { GuardedToolCore, ToolAnswer, ToolCall } from './tool-answer.ts'
import { parseOnly } from './parse-only.ts'
import { schemaDigestOf } from './schema-digest.ts'
import type { GuardedTool } from './tool-call.ts'
import { surfaceNamed } from './tool-place.ts'

/** By `invoke`, which a namespaced copy of a tool shares with it. */
const cores = new WeakMap<object, GuardedToolCore>()

/** The guarded tool behind an SDK tool, for hosts that call it without a run; undefined for tools of other makers. */
export function guardedToolCore(tool: unknown): GuardedToolCore | undefined {
  if (typeof tool !== 'object' || tool === null) return undefined
  const { invoke } = tool as Partial<FunctionTool>
  return typeof invoke === 'function' ? cores.get(invoke) : undefined
}

/** True for what `guardedTool` made. */
export function isGuarded(tool: unknown): boolean {
  return guardedToolCore(tool) !== undefined
}

export function registerCore(tool: GuardedTool): void {
  const { sdkTool, place, onDenied, schema, body, runOnly } = tool
  const { name, description, parameters, strict } = sdkTool
  const core: GuardedToolCore = {
    name,
    description,
    guard: place.guard,
    surfaces: place.surfaces,
    surfaceOf: place.surfaceOf,
    onDenied,
    inputSchema: schema.toZod(parameters),
    parameters,
    strict,
    schemaDigest: schemaDigestOf(sdkTool),
    effects: body.effects,
    runOnly,
    parse: (text) => parseOnly(sdkTool, schema, text),
    call: (call) => callDirectly(tool, core, call),
  }
  cores.set(sdkTool.invoke, core)
}

async function callDirectly(tool: GuardedTool, core: GuardedToolCore, call: ToolCall): Promise<ToolAnswer> {
  const { sdkTool, place, body } = tool
  if (tool.runOnly.length > 0) return refuseRunOnly(tool, call)
  const text = textOf(call.arguments)
  if (text === undefined) return badArgumentsAnswer(['The arguments must be a JSON object.'])
  if (isTextTooDeep(text)) return badArgumentsAnswer([`Nested deeper than ${MAX_JSON_DEPTH} levels.`])
  const direct: DirectCall = { ...call }
  const toolCall = {
    type: 'function_call',
    name: sdkTool.name,
    callId: call.callId ?? '-',
    arguments: text,
  } as const
  const details = { toolCall, ...(call.signal === undefined ? {} : { signal: call.signal }) }
  let cause: unknown
  try {
    await sdkTool.invoke(directRunContext(direct), text, details)
  } catch (thrown) {
    cause = thrown
  }
  const { answer } = direct
  if (answer === undefined) {
    // `timeoutMs` has passed in a way of the author's own; the body may be at an effect that finishes.
    const executed = body.effects.length > 0 ? 'unknown' : false
    return failedAnswer({
      surface: surfaceNamed(place, toolCall),
      tool: core.name,
      callId: call.callId,
      code: 'TOOL_TIMEOUT',
      executed,
      cause,
    })
  }
  return answer
}

/** What keeps a call back in a run must not be skipped where there is none (G4). */
function refuseRunOnly(
  { sdkTool: { name }, place, onDenied, runOnly }: GuardedTool,
  { callId, runId, signal }: ToolCall,
): ToolAnswer {
  const { guard, unchosen: surface } = place
  guard.log.error({ tool: name, options: runOnly }, 'only runs of the SDK apply these options of the tool')
  const at = { surface, boundary: 'tool', tool: name, callId, runId, signal } as const
  return refusedAnswer(refusalOf(guard.denyNow(at, 'GUARD_MISCONFIGURED')), { onDenied })
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null) return undefined
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

/** Text that is no JSON is for the tool's own parser to refuse. */
function isTextTooDeep(text: string): boolean {
  try {
    return text.length > MAX_JSON_DEPTH && isTooDeep(JSON.parse(text))
  } catch {
    return false
  }
}
