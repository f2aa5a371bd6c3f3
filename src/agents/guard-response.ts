import type {
  ResponseFunctionToolCall,
  ResponseInputItem,
  ResponseOutputItem,
} from 'openai/resources/responses/responses'
import { GuardMisconfiguredError } from '../errors.ts'
import type { Guard } from '../guard/guard.ts'
import { guardedToolCore } from './tool-core.ts'
import type { GuardedToolCore } from './tool-answer.ts'
import { traceQuestion } from './trace.ts'

/** What `guardResponse` takes, beside the tools and the response. */
export interface GuardResponseOptions {
  /** Names the run, which an effect with the key `'each-call'` needs: call ids are unique only within one. */
  readonly runId?: string | undefined
  /** Who asked, as authenticated. Default `local`. */
  readonly caller?: string | undefined
  /** The app's own context, handed on to tools. */
  readonly context?: unknown
  /** Aborted: nothing begins any more, and what only reads ends. */
  readonly signal?: AbortSignal | undefined
}

/** The item that goes back to the Responses API for one call. `output` is text, a denial included. */
export type GuardedOutput = ResponseInputItem.FunctionCallOutput & { readonly output: string }

/**
 * For loops on the plain Responses API: carries out the `function_call` items of a response with guarded tools, all at
 * once, and gives the `function_call_output` items for the next request, in the same order. A call of a tool that is
 * not among `tools`, or with arguments that do not fit, gives an error text and runs nothing. Never rejects because of
 * a call; throws `GUARD_MISCONFIGURED` when a tool was not made by `guardedTool` on this guard.
 */
export async function guardResponse(
  guard: Guard,
  tools: readonly unknown[],
  response: { readonly output: readonly ResponseOutputItem[] },
  options: GuardResponseOptions = {},
): Promise<GuardedOutput[]> {
  guard.observe(traceQuestion)
  const cores = new Map(tools.map((tool) => coreOn(guard, tool)).map((core) => [core.name, core]))
  const calls = response.output.filter((item) => item.type === 'function_call')
  return Promise.all(
    calls.map(async (call) => ({
      type: 'function_call_output' as const,
      call_id: call.call_id,
      output: await outputOf(cores, call, options),
    })),
  )
}

async function outputOf(
  cores: ReadonlyMap<string, GuardedToolCore>,
  { name, call_id: callId, arguments: args }: ResponseFunctionToolCall,
  options: GuardResponseOptions,
): Promise<string> {
  const core = cores.get(name)
  if (core === undefined) {
    const message = `There is no tool "${name}", so nothing was done. Tools: ${[...cores.keys()].join(', ')}`
    return JSON.stringify({ error: 'unknown_tool', message })
  }
  const { output } = await core.call({ ...options, arguments: args, callId })
  return output
}

function coreOn(guard: Guard, tool: unknown): GuardedToolCore {
  const core = guardedToolCore(tool)
  if (core !== undefined && core.guard === guard) return core
  const name = (tool as { name?: unknown } | null)?.name
  throw new GuardMisconfiguredError(
    `Tool "${typeof name === 'string' ? name : typeof tool}" was not made by guardedTool on a surface of this guard.`,
  )
}
