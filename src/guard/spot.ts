import type { Guard } from './guard.ts'
import type { SurfaceChoice } from './surface-choice.ts'
import { SERVER_SURFACE, type Surface } from './surface.ts'

/** Where work stands. A fixed surface is a choice of one. */
export interface Spot<Input> {
  readonly guard: Guard
  /** Every surface that it may stand on. */
  readonly surfaces: readonly Surface[]
  /** Undefined when none can be chosen: such work must not start (G4). */
  readonly surfaceOf: (input: Input) => Surface | undefined
  /** What stands for it without a choice, before there is an input or where it names none: the fixed one, or the server device alone. */
  readonly unchosen: Surface
}

export function spotOn<Input>(place: Surface | SurfaceChoice<Input>): Spot<Input> {
  const { guard } = place
  if (!('choose' in place)) return { guard, surfaces: [place], surfaceOf: () => place, unchosen: place }
  const { surfaces, choose } = place
  return { guard, surfaces, surfaceOf: choose, unchosen: guard.surface(SERVER_SURFACE) }
}
