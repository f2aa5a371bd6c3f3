import type { EffectReport } from '../guard/call.ts'
import type { Boundary, DenialCode } from '../guard/decision.ts'
import type { Effect } from '../guard/effect.ts'
import type { Guard } from '../guard/guard.ts'
import type { RefusalWord } from '../guard/refusal.ts'
import type { Surface } from '../guard/surface.ts'
import type { z } from 'zod'

export const ON_DENIED = ['tell', 'stop', 'abort'] as const

/**
 * What a denied or failed call does to the run: `tell` the model and go on, `stop` the run cleanly, `abort` it.
 * Where there is no run all three tell.
 */
export type OnDenied = (typeof ON_DENIED)[number]

/** The one JSON object a model or caller is told, the same over every transport. Field names as on the wire. */
export interface RefusalBody {
  readonly error: RefusalWord
  readonly code: DenialCode
  readonly boundary: Boundary
  readonly device_id: string
  readonly request_id: string
  readonly executed: boolean | 'unknown'
  readonly effects: readonly EffectReport[]
  readonly on_denied: OnDenied
  readonly retryable: false
  readonly message: string
}

/** What one call of a guarded tool gave. `output` is always the text for the model. */
export type ToolAnswer =
  | {
      readonly kind: 'output'
      readonly output: string
      readonly replayed: boolean
      readonly requestId: string
    }
  | { readonly kind: 'refused'; readonly output: string; readonly body: RefusalBody }
  | { readonly kind: 'bad_arguments'; readonly output: string; readonly issues: readonly string[] }

/** One call that did not come through a run of the Agents SDK: plain HTTP, MCP, a Responses API loop. */
export interface ToolCall {
  /** The arguments, as an object or as the JSON text that the Responses API gives. */
  readonly arguments: unknown
  readonly callId?: string | undefined
  readonly runId?: string | undefined
  /** Who called, as authenticated. Default `local`. */
  readonly caller?: string | undefined
  readonly signal?: AbortSignal | undefined
  readonly context?: unknown
}

/** A guarded tool without the SDK around it. `guardedToolCore(tool)` gives it for a tool that `guardedTool` made. */
export interface GuardedToolCore {
  readonly name: string
  readonly description: string
  readonly guard: Guard
  /** Every surface that a call of it may stand on: one, or those that `guard.surfaceBy` chooses from. */
  readonly surfaces: readonly Surface[]
  /** The surface of a call with these arguments, as `parse` gives them. Undefined when none can be chosen: it never runs. */
  readonly surfaceOf: (args: unknown) => Surface | undefined
  readonly onDenied: OnDenied
  /** The zod schema that the arguments are parsed with; JSON Schema parameters were converted. */
  readonly inputSchema: z.ZodType
  /** The parameters as the Responses API wants them, and whether strictly. */
  readonly parameters: Record<string, unknown>
  readonly strict: boolean
  /** SHA-256 of name, parameters and strictness: what a model was told, and what an approval is bound to. */
  readonly schemaDigest: string
  /** What a call of it can commit. */
  readonly effects: readonly Effect<unknown, unknown, never>[]
  /** The options of the tool that only runs of the SDK apply, such as `inputGuardrails`: with one, `call` refuses. */
  readonly runOnly: readonly string[]
  /** The arguments as a run of the SDK would hand them to the body, defaults included. Undefined when they do not fit. */
  parse(text: string): Promise<{ readonly arguments: unknown } | undefined>
  /** Parses, asks, runs. Never rejects. A tool that needs approval answers `APPROVAL_REQUIRED` here, and one with an
   * option of `runOnly`, or for whose arguments no surface can be chosen, `GUARD_MISCONFIGURED`. */
  call(call: ToolCall): Promise<ToolAnswer>
}
