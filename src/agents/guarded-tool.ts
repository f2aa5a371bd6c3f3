import {
  ModelBehaviorError,
  tool,
  type FunctionCallItem,
  type FunctionTool,
  RunContext,
  type ToolInputParameters,
  type ToolOptions,
} from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import type { DeclaredEffects } from '../guard/declared-effects.ts'
import { spotOn } from '../guard/spot.ts'
import type { SurfaceChoice } from '../guard/surface-choice.ts'
import type { Surface } from '../guard/surface.ts'
import { directCallOf } from './direct-call.ts'
import { GuardDeniedError } from './guard-denied.ts'
import { badArgumentsAnswer, failedAnswer } from './model-text.ts'
import { beforeTurn, rememberCallingAgent } from './on-denied.ts'
import type { AnyAgent } from './session.ts'
import { ON_DENIED, type ToolAnswer } from './tool-answer.ts'
import { toolBody, type AnyToolOptions } from './tool-body.ts'
import { executeGuarded, type GuardedTool, type SdkTool, type ToolCallDetails } from './tool-call.ts'
import { registerCore } from './tool-core.ts'
import type {
  OneEffectToolOptions,
  ReadOnlyToolOptions,
  SeveralEffectsToolOptions,
  ToolSurface,
} from './tool-options.ts'
import { surfaceNamed, type ToolPlace } from './tool-place.ts'
import { toolSchema, type ToolSchema } from './tool-schema.ts'
import { traceQuestion } from './trace.ts'

export { guardedToolCore, isGuarded } from './tool-core.ts'

/**
 * A function tool of the Agents SDK whose body runs only when the authority allows `surface` right then, and whose
 * effects each ask once more right before they happen. A refusal is the result text, one JSON object. With
 * `guard.surfaceBy` the surface is chosen from the parsed arguments of each call, and a call for which none can be chosen
 * is denied `GUARD_MISCONFIGURED`. Every other option is that of the SDK's `tool()`. Throws `GUARD_MISCONFIGURED` when
 * the options cannot work.
 */
export function guardedTool<P extends ToolInputParameters, Context = unknown>(
  surface: ToolSurface<P>,
  options: ReadOnlyToolOptions<P, Context>,
): FunctionTool<Context, P, string>
export function guardedTool<P extends ToolInputParameters, Context = unknown, Prepared = undefined>(
  surface: ToolSurface<P>,
  options: OneEffectToolOptions<P, Context, Prepared>,
): FunctionTool<Context, P, string>
export function guardedTool<P extends ToolInputParameters, E extends DeclaredEffects, Context = unknown>(
  surface: ToolSurface<P>,
  options: SeveralEffectsToolOptions<P, E, Context>,
): FunctionTool<Context, P, string>
export function guardedTool(surface: Surface | SurfaceChoice<never>, options: object): unknown {
  // The overloads fit the choice to the parameters.
  return buildTool(spotOn(surface as Surface | SurfaceChoice<unknown>), options as AnyToolOptions)
}

function buildTool(place: ToolPlace, options: AnyToolOptions): SdkTool {
  refuseUnsupported(options)
  const schema = toolSchema(options.name, options.parameters)
  const body = toolBody(place.guard, options)
  const execute = (args: unknown, runContext: RunContext<unknown> | undefined, details: ToolCallDetails) =>
    executeGuarded(guarded, args, runContext ?? new RunContext(), details)
  const guarded: GuardedTool = {
    sdkTool: tool(sdkOptions(place, options, { schema, hasEffects: body.effects.length > 0, execute })),
    place,
    onDenied: options.onDenied ?? 'tell',
    schema,
    body,
    runOnly: runOnlyOptions(options),
  }
  registerCore(guarded)
  place.guard.observe(traceQuestion)
  return guarded.sdkTool
}

function refuseUnsupported(options: AnyToolOptions): void {
  // The SDK would name it after a function of ours.
  if (!options.name) throw new GuardMisconfiguredError('A tool needs a name: the model calls it by that.')
  if (!ON_DENIED.includes(options.onDenied ?? 'tell')) {
    throw new GuardMisconfiguredError(`Tool "${options.name}": onDenied is 'tell', 'stop' or 'abort'.`)
  }
  for (const name of ['errorFunction', 'outputSchema'] as const) {
    if (options[name] === undefined) continue
    throw new GuardMisconfiguredError(
      `Tool "${options.name}": ${name} is not supported, because the text of a refusal is fixed. Leave it out.`,
    )
  }
}

/** What a direct call would skip: the SDK's runs apply these, its `invoke` does not. */
function runOnlyOptions({ inputGuardrails, outputGuardrails, isEnabled }: AnyToolOptions): readonly string[] {
  return [
    ...((inputGuardrails?.length ?? 0) > 0 ? ['inputGuardrails'] : []),
    ...((outputGuardrails?.length ?? 0) > 0 ? ['outputGuardrails'] : []),
    ...((isEnabled ?? true) === true ? [] : ['isEnabled']),
  ]
}

/** Nobody is asked to approve what cannot run, and the app's own policy sees only arguments that fit. */
function approvalPolicy(own: AnyToolOptions['needsApproval'], place: ToolPlace, schema: ToolSchema) {
  if (typeof own !== 'function') return own
  const policy = own as (runContext: RunContext<unknown>, args: unknown, callId?: string) => unknown
  return async (runContext: RunContext<unknown>, args: unknown, callId?: string) =>
    schema.issues(args).length === 0 &&
    place.surfaceOf(args) !== undefined &&
    policy(runContext, args, callId)
}

type Execute = (
  args: unknown,
  runContext: RunContext<unknown> | undefined,
  details: ToolCallDetails,
) => Promise<string>

function sdkOptions(
  place: ToolPlace,
  options: AnyToolOptions,
  { schema, hasEffects, execute }: { schema: ToolSchema; hasEffects: boolean; execute: Execute },
): ToolOptions<ToolInputParameters, unknown> {
  const { isEnabled, name, needsApproval, timeoutErrorFunction } = options
  const failing = (toolCall: FunctionCallItem | undefined) => ({
    surface: surfaceNamed(place, toolCall),
    tool: name,
    callId: toolCall?.callId,
  })
  const built = {
    ...options,
    parameters: schema.parameters,
    execute,
    needsApproval: approvalPolicy(needsApproval, place, schema),
    errorFunction: (runContext: RunContext<unknown>, error: unknown, details: ToolCallDetails) => {
      // `execute` throws only to abort the run.
      if (error instanceof GuardDeniedError) throw error
      return answerText(
        runContext,
        error instanceof ModelBehaviorError
          ? badArgumentsAnswer(['The arguments are not well-formed JSON.'])
          : failedAnswer({
              ...failing(details?.toolCall),
              code: 'TOOL_FAILED',
              executed: 'unknown',
              cause: error,
            }),
      )
    },
    timeoutErrorFunction:
      timeoutErrorFunction ??
      ((runContext: RunContext<unknown>, _error: unknown, details: ToolCallDetails) => {
        const executed = hasEffects ? 'unknown' : false
        const failed = failedAnswer({ ...failing(details?.toolCall), code: 'TOOL_TIMEOUT', executed })
        return answerText(runContext, failed)
      }),
    inputGuardrails: [rememberCallingAgent, ...(options.inputGuardrails ?? [])],
    isEnabled: async (at: { runContext: RunContext<unknown>; agent: AnyAgent }) => {
      beforeTurn(at.runContext)
      return typeof isEnabled === 'function' ? isEnabled(at as never) : (isEnabled ?? true)
    },
  }
  // Of our own options `tool()` takes no notice.
  return built as unknown as ToolOptions<ToolInputParameters, unknown>
}

/** The text of an answer that `execute` did not give, kept for the host of a direct call. */
function answerText(runContext: RunContext<unknown>, answer: ToolAnswer): string {
  const direct = directCallOf(runContext)
  if (direct !== undefined) direct.answer = answer
  return answer.output
}
