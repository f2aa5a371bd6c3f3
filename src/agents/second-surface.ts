import { GuardMisconfiguredError } from '../errors.ts'
import type { Surface } from '../guard/surface.ts'

/**
 * What is gated has one gate, and that asks for one surface. Throws `GUARD_MISCONFIGURED` when it is wanted on another
 * one: a stop of that would not reach it.
 */
export function refuseSecondSurface(
  what: string,
  { present, wanted }: { readonly present: Surface; readonly wanted: Surface },
): void {
  if (present === wanted) return
  const other = present.guard === wanted.guard ? `"${wanted.name}"` : `"${wanted.name}" of another guard`
  throw new GuardMisconfiguredError(
    `${what} asks for surface "${present.name}" already, and cannot ask for ${other} too. Gate it on one surface: ` +
      'guardTool(tool, surface) before guardAgent, which leaves such a gate, or the same surface in each guardAgent.',
  )
}
