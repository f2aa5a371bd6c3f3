import { GuardMisconfiguredError } from '../errors.ts'
import type { Guard } from '../guard/guard.ts'
import { spotOn, type Spot } from '../guard/spot.ts'
import type { SurfaceChoice } from '../guard/surface-choice.ts'
import { SERVER_SURFACE, type Surface } from '../guard/surface.ts'

/** Where a gate stands: a surface; the whole process (a guard: its server device alone); or chosen by what is asked for. */
export type Place<Unit = never> = Surface | Guard | SurfaceChoice<Unit>

/** Throws `GUARD_MISCONFIGURED` for what the types refuse. */
export function spotOf<Unit>(place: Place<Unit>): Spot<Unit> {
  const given: unknown = place
  if (typeof given !== 'object' || given === null) {
    const name = typeof given === 'string' ? given : 'payments'
    throw new GuardMisconfiguredError(
      `A gate's first argument is where it stands: guard.surface('${name}'), or the guard itself.`,
    )
  }
  return spotOn('choose' in place || 'deviceIds' in place ? place : place.surface(SERVER_SURFACE))
}
