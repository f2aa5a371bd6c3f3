import type {
  Agent,
  FunctionToolCustomDataExtractor,
  FunctionToolTimeoutBehavior,
  RunContext,
  ToolAllowedCallers,
  ToolExecuteArgument,
  ToolInputGuardrailDefinition,
  ToolInputGuardrailFunction,
  ToolInputParameters,
  ToolOutputGuardrailDefinition,
  ToolOutputGuardrailFunction,
  ToolTimeoutErrorFunction,
} from '@openai/agents'
import type { DeclaredEffects, EffectFunctions } from '../guard/declared-effects.ts'
import type { EffectContext, EffectKind, EffectOptions } from '../guard/effect.ts'
import type { SurfaceChoice } from '../guard/surface-choice.ts'
import type { Surface } from '../guard/surface.ts'
import type { OnDenied } from './tool-answer.ts'

/** Where a tool stands: on a surface, or on one that `guard.surfaceBy` chooses from the parsed arguments of each call. */
export type ToolSurface<P extends ToolInputParameters> = Surface | SurfaceChoice<ToolExecuteArgument<P>>

/** What the body of a guarded tool works with. */
export interface ToolWork<Context = unknown> {
  /** The app's own context, as given to the run. */
  readonly context: Context
  /** Aborted when the run or caller gives up, at `timeoutMs`, at a shutdown, and when a stop reaches this call. */
  readonly signal: AbortSignal
  readonly callId: string
  /** Absent outside `runAgent` and hosts that name their runs. */
  readonly runId: string | undefined
  readonly runContext: RunContext<Context>
}

/** What every guarded tool takes: the options of the SDK's `tool()` but `execute`, `errorFunction`, `outputSchema`. */
export interface GuardedToolOptions<P extends ToolInputParameters, Context = unknown> {
  /** What the model calls it. */
  readonly name: string
  /** What the model is told that it does. */
  readonly description: string
  /** zod, Standard Schema or JSON Schema, as `tool()` takes them. Arguments are validated with each of them. */
  readonly parameters: P
  /** Default true. Only JSON Schema can be `false`. */
  readonly strict?: boolean
  /**
   * What a refused permission does to the run. Default `tell`. In a plain `run()`, `stop` and `abort` end the agent that
   * called, and the SDK lets an agent that uses it as a tool go on; in `runAgent` they end the whole run.
   */
  readonly onDenied?: OnDenied
  /** A person must approve each call. Also enforced where no run asks for it: `APPROVAL_REQUIRED`. */
  readonly needsApproval?:
    | boolean
    | ((
        runContext: RunContext<Context>,
        args: ToolExecuteArgument<P>,
        callId?: string,
      ) => boolean | Promise<boolean>)
  /** Applied by runs of the SDK only, as are guardrails: with one of them, other hosts refuse the tool. */
  readonly isEnabled?:
    boolean | ((at: { runContext: RunContext<Context>; agent: Agent<Context> }) => boolean | Promise<boolean>)
  /** How long a call may take, hold points included, in milliseconds. An effect that has started is not undone. */
  readonly timeoutMs?: number
  /** The SDK's: what a call over `timeoutMs` gives. */
  readonly timeoutBehavior?: FunctionToolTimeoutBehavior
  /** The SDK's: the text of that. */
  readonly timeoutErrorFunction?: ToolTimeoutErrorFunction<Context, string>
  /** The SDK's, before the tool's own hold point. */
  readonly inputGuardrails?: readonly (
    ToolInputGuardrailDefinition<Context> | { name: string; run: ToolInputGuardrailFunction<Context> }
  )[]
  /** The SDK's, over what the tool gave. */
  readonly outputGuardrails?: readonly (
    ToolOutputGuardrailDefinition<Context> | { name: string; run: ToolOutputGuardrailFunction<Context> }
  )[]
  /** The SDK's, as in `tool()`. */
  readonly customDataExtractor?: FunctionToolCustomDataExtractor<Context, P, string>
  /** The SDK's, as in `tool()`. */
  readonly deferLoading?: boolean
  /** The SDK's, as in `tool()`. */
  readonly providerData?: Record<string, unknown>
  /** The SDK's, as in `tool()`. */
  readonly allowedCallers?: ToolAllowedCallers
  /** Not supported: the text of a refusal is fixed. */
  readonly errorFunction?: never
  /** Not supported: a refusal would have to satisfy it. */
  readonly outputSchema?: never
}

/** A tool that only reads. One hold point. */
export interface ReadOnlyToolOptions<
  P extends ToolInputParameters,
  Context = unknown,
> extends GuardedToolOptions<P, Context> {
  /** Says that it does nothing to the world. Nobody checks that but its author. */
  readonly effects: 'none'
  /** Starts only on a fresh allow. Its result, or what it throws, is told to the model. */
  readonly execute: (args: ToolExecuteArgument<P>, work: ToolWork<Context>) => unknown
}

/** A tool with one effect, which is named like the tool. Two hold points: before `prepare`, and right before `commit`. */
export interface OneEffectToolOptions<P extends ToolInputParameters, Context = unknown, Prepared = undefined>
  extends
    GuardedToolOptions<P, Context>,
    Pick<
      EffectOptions<ToolExecuteArgument<P>, unknown, Context>,
      'reconcile' | 'onStop' | 'deadlineMs' | 'sinkKeyTtlMs' | 'transactional' | 'redact'
    > {
  /** The kind of its effect. */
  readonly effect: EffectKind
  /** The business key, or `'each-call'`: see `EffectOptions`. No default: the author must choose. */
  readonly key: ((args: ToolExecuteArgument<P>) => string) | 'each-call'
  /** What comes before the second hold point. Its result reaches `commit` as `prepared`: write it before `commit`. */
  readonly prepare?: (args: ToolExecuteArgument<P>, work: ToolWork<Context>) => Prepared | Promise<Prepared>
  /** The effect itself. Throw `EffectNotPerformed` when it surely did not happen. */
  readonly commit: (
    args: ToolExecuteArgument<P>,
    effect: EffectContext<Context> & { readonly prepared: Prepared },
  ) => unknown
  readonly effects?: never
}

/** A tool with several effects. A hold point before `execute`, and one before each effect on the effect's own surface. */
export interface SeveralEffectsToolOptions<
  P extends ToolInputParameters,
  E extends DeclaredEffects,
  Context = unknown,
> extends GuardedToolOptions<P, Context> {
  /** Its effects, each made by `defineEffect`, by the names under which `execute` gets them. */
  readonly effects: E
  /** Starts only on a fresh allow. Reaches the world through `work.effects`, and awaits each before it returns. */
  readonly execute: (
    args: ToolExecuteArgument<P>,
    work: ToolWork<Context> & { readonly effects: EffectFunctions<E> },
  ) => unknown
}
