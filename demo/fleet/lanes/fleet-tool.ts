import { guardedTool, type Surface, type SurfaceChoice } from 'holdpoint'
import { z } from 'zod'
import type { LaneBook } from '../book.ts'
import { atWork, type Done } from './lane.ts'

const UnitArguments = z.object({ id: z.string(), tenant: z.string(), fails: z.boolean() })
export type UnitArguments = z.infer<typeof UnitArguments>

interface FleetTool {
  readonly name: string
  readonly description: string
  readonly book: LaneBook
  /** Undefined: it only reads. */
  readonly effect: Done | undefined
}

/** A tool that writes its starts down. */
export function fleetTool(
  place: Surface | SurfaceChoice<UnitArguments>,
  { name, description, book, effect }: FleetTool,
) {
  const named = { name, description, parameters: UnitArguments }
  const work = async () => {
    book.started('tool')
    await atWork()
  }
  if (effect === undefined)
    return guardedTool(place, { ...named, effects: 'none', execute: () => work().then(() => 'found') })
  return guardedTool(place, {
    ...named,
    effects: { effect },
    execute: async (unit, { effects }) => {
      await work()
      await effects.effect(unit)
      return 'done'
    },
  })
}
