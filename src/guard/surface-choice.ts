import { GuardMisconfiguredError } from '../errors.ts'
import { atOnce } from './at-once.ts'
import type { Guard } from './guard.ts'
import type { Surface } from './surface.ts'

/**
 * A surface chosen from what is asked for, for example one per tenant. Made by `guard.surfaceBy`. Only declared surfaces
 * can be chosen, so nothing that a caller or model writes leads past an operator's stop.
 */
export interface SurfaceChoice<Input> {
  readonly guard: Guard
  /** Every surface that it may choose. */
  readonly surfaces: readonly Surface[]
  /** Undefined when the choice throws or names none of `surfaces`: then the hold point denies `GUARD_MISCONFIGURED`. */
  readonly choose: (input: Input) => Surface | undefined
}

/** A function of the arguments that looked well-formed when it was made may still throw on what a model sends. */
export function surfaceChoice<Input>(
  guard: Guard,
  names: readonly string[],
  choose: (input: Input) => string,
): SurfaceChoice<Input> {
  if (names.length === 0) {
    throw new GuardMisconfiguredError(
      "surfaceBy needs the names of the surfaces to choose from: surfaceBy(['tenant-a', 'tenant-b'], …).",
    )
  }
  const surfaces = new Map(names.map((name) => [name, guard.surface(name)]))
  return Object.freeze({
    guard,
    surfaces: [...surfaces.values()],
    choose: (input: Input) => {
      try {
        return surfaces.get(atOnce(choose(input)))
      } catch {
        return undefined
      }
    },
  })
}
