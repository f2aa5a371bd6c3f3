import { GuardMisconfiguredError } from '../errors.ts'
import { assertEffects, type DeclaredEffects } from '../guard/declared-effects.ts'
import type { Guard } from '../guard/guard.ts'

/** Effects by name, or the word that there are none. */
export type EffectsOrNone = DeclaredEffects | 'none'

/** What `effects` declares: nothing where it says so. */
export type DeclaredIn<Effects extends EffectsOrNone> = Effects extends DeclaredEffects
  ? Effects
  : Record<never, never>

/** Throws `GUARD_MISCONFIGURED` for what the types refuse, and for an effect on a surface that is not declared. */
export function declaredEffects<Effects extends EffectsOrNone>(
  guard: Guard,
  effects: Effects,
  whose: string,
): DeclaredIn<Effects> {
  const given: unknown = effects
  if (typeof given !== 'object' && given !== 'none')
    throw new GuardMisconfiguredError(`${whose} ${NO_EFFECTS}`)
  const declared: DeclaredEffects = effects === 'none' ? {} : effects
  assertEffects(guard, declared, whose)
  return declared as DeclaredIn<Effects>
}

const NO_EFFECTS = "needs effects: { charge: defineEffect(…) }, or 'none' when it changes nothing outside."
