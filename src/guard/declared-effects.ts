import { GuardMisconfiguredError } from '../errors.ts'
import type { ActiveCall } from './call.ts'
import type { Committed } from './commit.ts'
import { effectSurfaces, isEffect, type Effect } from './effect.ts'
import type { Guard } from './guard.ts'

/** Effects by the name that a body uses for them. */
export type DeclaredEffects = Readonly<Record<string, Effect<never, unknown, never>>>

/** The declared effects as functions: each asks at `side_effect`, and runs once per key. */
export type EffectFunctions<E extends DeclaredEffects> = {
  readonly [Name in keyof E]: E[Name] extends Effect<infer Input, infer Result, never>
    ? (input: Input) => Promise<Committed<Result>>
    : never
}

/** Throws `GUARD_MISCONFIGURED` for what the types refuse, and for an effect on a surface that is not declared. */
export function assertEffects(guard: Guard, effects: DeclaredEffects, whose: string): void {
  for (const [name, effect] of Object.entries(effects)) {
    if (!isEffect(effect))
      throw new GuardMisconfiguredError(`${whose}: make effects.${name} with defineEffect(…).`)
    for (const surface of effectSurfaces(effect)) guard.surface(surface)
  }
}

/** What the body of `call` gets. */
export function effectFunctions<E extends DeclaredEffects>(
  effects: E,
  call: Pick<ActiveCall, 'commit'>,
): EffectFunctions<E> {
  const entries = Object.entries(effects as unknown as Record<string, Effect<unknown, unknown>>)
  return Object.fromEntries(
    entries.map(([name, effect]) => [name, (input: unknown) => call.commit(effect, input)]),
  ) as unknown as EffectFunctions<E>
}
