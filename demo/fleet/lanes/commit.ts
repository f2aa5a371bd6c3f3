import { CallRefusedError } from 'holdpoint'
import { commitSideEffect } from 'holdpoint/gates'
import { effectOf, entersAt, pause, placeOf, unitsOf, type Lane, type Unit } from './lane.ts'

/** One effect after the other, outside any loop or job. What is denied is kept, and tried again with the same id. */
export const commitLane: Lane = async (context) => {
  const { spec, sink, paceMs, leaving } = context
  entersAt(context)
  const effect = effectOf(context, { isEntry: true })
  const place = placeOf<Unit>(context)
  const next = unitsOf(context)
  const commit = async (unit: Unit): Promise<boolean> => {
    try {
      const input = { ...unit, fails: false }
      const { replayed } = await commitSideEffect(place, effect, input, { callId: unit.id, name: spec.name })
      if (replayed) sink.replayed()
      return true
    } catch (error) {
      if (!(error instanceof CallRefusedError)) throw error
      if (error.refusal.error === 'outcome_unknown') sink.unknown()
      return false
    }
  }
  let unit = next()
  while (!leaving.aborted) {
    await pause(paceMs, leaving)
    if (leaving.aborted) return
    if (!(await commit(unit))) continue
    if (unit.fails) {
      // Whoever asked for it got no answer, and asks again.
      sink.retried()
      await commit(unit)
    }
    unit = next()
  }
}
