import type { ToolInputParameters } from '@openai/agents'
import { digestOf } from '../canonical-json.ts'
import { GuardMisconfiguredError } from '../errors.ts'
import type { ActiveCall } from '../guard/call.ts'
import { assertEffects, effectFunctions, type DeclaredEffects } from '../guard/declared-effects.ts'
import { defineEffect, withRun, type Effect } from '../guard/effect.ts'
import type { Guard } from '../guard/guard.ts'
import type {
  OneEffectToolOptions,
  ReadOnlyToolOptions,
  SeveralEffectsToolOptions,
  ToolWork,
} from './tool-options.ts'

export type AnyToolOptions =
  | ReadOnlyToolOptions<ToolInputParameters>
  | OneEffectToolOptions<ToolInputParameters, unknown, unknown>
  | SeveralEffectsToolOptions<ToolInputParameters, DeclaredEffects>

/** What a guarded call runs once it is allowed. */
export interface ToolBody {
  readonly run: (args: unknown, call: ActiveCall, work: ToolWork) => unknown
  readonly effects: readonly Effect<unknown, unknown, never>[]
}

/** One of the three shapes of a tool. Throws `GUARD_MISCONFIGURED` for what the types refuse, for those without types. */
export function toolBody(guard: Guard, options: AnyToolOptions): ToolBody {
  if ('effect' in options && options.effect !== undefined) return oneEffect(options)
  if (options.effects === 'none') {
    const { execute } = requireFunction(options, 'execute')
    return { effects: [], run: (args, _call, work) => execute(args, work) }
  }
  return severalEffects(guard, options as SeveralEffectsToolOptions<ToolInputParameters, DeclaredEffects>)
}

function oneEffect(options: OneEffectToolOptions<ToolInputParameters, unknown, unknown>): ToolBody {
  const {
    name,
    effect: kind,
    key,
    prepare,
    reconcile,
    onStop,
    deadlineMs,
    sinkKeyTtlMs,
    transactional,
    redact,
  } = options
  const { commit } = requireFunction(options, 'commit')
  const effect = defineEffect<unknown, unknown>({
    kind,
    name,
    key: key as ((args: unknown) => string) | 'each-call',
    run: (args, context) => commit(args, { ...context, prepared: undefined }),
    ...definedOnly({ reconcile, onStop, deadlineMs, sinkKeyTtlMs, transactional, redact }),
  })
  return {
    effects: [effect],
    run: async (args, call, work) => {
      if (prepare === undefined) return (await call.commit(effect, args)).result
      const asked = digestOf(args)
      const prepared = await prepare(args, work)
      // Surface and approval are for the arguments that came (G1).
      if (digestOf(args) !== asked)
        throw new GuardMisconfiguredError(
          `Tool "${name}": prepare changed the arguments. Return what it prepares; commit gets it as \`prepared\`.`,
        )
      // The same effect, with what was prepared for this call only: it is no part of the key or the digest.
      const own = withRun(effect, (input, context) => commit(input, { ...context, prepared }))
      return (await call.commit(own, args)).result
    },
  }
}

function severalEffects(
  guard: Guard,
  options: SeveralEffectsToolOptions<ToolInputParameters, DeclaredEffects>,
): ToolBody {
  const { execute } = requireFunction(options, 'execute')
  const effects = options.effects ?? {}
  if (Object.keys(effects).length === 0) {
    throw new GuardMisconfiguredError(
      `Tool "${options.name}" must say what it does: effects: 'none', or effect: 'payment' with key and commit, ` +
        'or effects: { charge: defineEffect(…) }.',
    )
  }
  assertEffects(guard, effects, `Tool "${options.name}"`)
  return {
    effects: Object.values(effects) as unknown as Effect<unknown, unknown, never>[],
    run: (args, call, work) => execute(args, { ...work, effects: effectFunctions(effects, call) }),
  }
}

function requireFunction<Options extends AnyToolOptions, Name extends keyof Options>(
  options: Options,
  name: Name,
): Options {
  if (typeof options[name] === 'function') return options
  throw new GuardMisconfiguredError(`Tool "${options.name}" needs ${String(name)}: a function.`)
}

function definedOnly<T extends object>(options: T): { [Name in keyof T]: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [Name in keyof T]: Exclude<T[Name], undefined>
  }
}
