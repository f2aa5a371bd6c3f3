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
import type { Committed } from '../guard/commit.ts'
import type { Effect, EffectContext, EffectKind, EffectOptions } from '../guard/effect.ts'
import type { OnDenied } from './tool-answer.ts'

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
  readonly name: string
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
  readonly timeoutBehavior?: FunctionToolTimeoutBehavior
  readonly timeoutErrorFunction?: ToolTimeoutErrorFunction<Context, string>
  readonly inputGuardrails?: readonly (
    ToolInputGuardrailDefinition<Context> | { name: string; run: ToolInputGuardrailFunction<Context> }
  )[]
  readonly outputGuardrails?: readonly (
    ToolOutputGuardrailDefinition<Context> | { name: string; run: ToolOutputGuardrailFunction<Context> }
  )[]
  readonly customDataExtractor?: FunctionToolCustomDataExtractor<Context, P, string>
  readonly deferLoading?: boolean
  readonly providerData?: Record<string, unknown>
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
  readonly effects: 'none'
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

/** Effects by the name that `execute` uses for them. */
export type DeclaredEffects = Readonly<Record<string, Effect<never, unknown, never>>>

/** The declared effects as functions: each asks at `side_effect`, and runs once per key. */
export type EffectFunctions<E extends DeclaredEffects> = {
  readonly [Name in keyof E]: E[Name] extends Effect<infer Input, infer Result, never>
    ? (input: Input) => Promise<Committed<Result>>
    : never
}

/** A tool with several effects. A hold point before `execute`, and one before each effect on the effect's own surface. */
export interface SeveralEffectsToolOptions<
  P extends ToolInputParameters,
  E extends DeclaredEffects,
  Context = unknown,
> extends GuardedToolOptions<P, Context> {
  readonly effects: E
  readonly execute: (
    args: ToolExecuteArgument<P>,
    work: ToolWork<Context> & { readonly effects: EffectFunctions<E> },
  ) => unknown
}
