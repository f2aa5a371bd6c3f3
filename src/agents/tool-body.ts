import type { ToolInputParameters } from '@openai/agents'
import { GuardMisconfiguredError } from '../errors.ts'
import type { ActiveCall } from '../guard/call.ts'
import { defineEffect, isEffect, type Effect } from '../guard/effect.ts'
import type { Surface } from '../guard/surface.ts'
import type {
  DeclaredEffects,
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
export function toolBody(surface: Surface, options: AnyToolOptions): ToolBody {
  if ('effect' in options && options.effect !== undefined) return oneEffect(options)
  if (options.effects === 'none') {
    const { execute } = requireFunction(options, 'execute')
    return { effects: [], run: (args, _call, work) => execute(args, work) }
  }
  return severalEffects(surface, options as SeveralEffectsToolOptions<ToolInputParameters, DeclaredEffects>)
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
      const prepared = await prepare(args, work)
      // The same effect, with what was prepared for this call only: it is no part of the key or the digest.
      const own: Effect<unknown, unknown> = {
        ...effect,
        run: (input, context) => commit(input, { ...context, prepared }),
      }
      return (await call.commit(own, args)).result
    },
  }
}

function severalEffects(
  surface: Surface,
  options: SeveralEffectsToolOptions<ToolInputParameters, DeclaredEffects>,
): ToolBody {
  const { execute } = requireFunction(options, 'execute')
  const effects = Object.entries(options.effects ?? {})
  if (effects.length === 0) {
    throw new GuardMisconfiguredError(
      `Tool "${options.name}" must say what it does: effects: 'none', or effect: 'payment' with key and commit, ` +
        'or effects: { charge: defineEffect(…) }.',
    )
  }
  for (const [name, effect] of effects) {
    if (!isEffect(effect))
      throw new GuardMisconfiguredError(`Tool "${options.name}": make effects.${name} with defineEffect(…).`)
    if (effect.surface !== undefined) surface.guard.surface(effect.surface)
  }
  return {
    effects: effects.map(([, effect]) => effect as unknown as Effect<unknown, unknown, never>),
    run: (args, call, work) => {
      const functions = Object.fromEntries(
        effects.map(([name, effect]) => [
          name,
          (input: unknown) => call.commit(effect as unknown as Effect<unknown, unknown>, input),
        ]),
      )
      return execute(args, { ...work, effects: functions })
    },
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
