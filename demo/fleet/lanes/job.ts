import { guardedJob } from 'holdpoint/gates'
import { atWork, effectOf, entersAt, pause, placeOf, unitsOf, type Lane, type Unit } from './lane.ts'

/** What a scheduler calls, here with a schedule far tighter than a night. A run that is denied is skipped. */
export const jobLane: Lane = async (context) => {
  const { spec, book, sink, paceMs, leaving } = context
  entersAt(context)
  const next = unitsOf(context)
  const nightly = guardedJob(placeOf<Unit>(context), {
    name: spec.name,
    effects: { effect: effectOf(context) },
    unitId: ({ id }: Unit) => id,
    run: async (work, unit: Unit) => {
      book.started('task')
      await atWork()
      const { replayed } = await work.effects.effect({ ...unit, fails: false })
      if (replayed) sink.replayed()
      if (unit.fails) throw new Error('The job failed after its effect.')
    },
    onDenied: 'skip',
  })
  while (!leaving.aborted) {
    await pause(paceMs, leaving)
    if (leaving.aborted) return
    const unit = next()
    await nightly(unit).catch(async () => {
      sink.retried()
      await nightly({ ...unit, fails: false }).catch(() => sink.unknown())
    })
  }
}
