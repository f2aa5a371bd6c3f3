import { guardedLoop } from 'holdpoint/gates'
import {
  atWork,
  effectOf,
  entersAt,
  pause,
  placeOf,
  unitsOf,
  type Lane,
  type LaneContext,
  type Unit,
} from './lane.ts'

/** A long loop, each unit of which fans out. */
export const loopLane: Lane = async (context) => {
  const { spec, book, sink, paceMs, leaving } = context
  entersAt(context)
  const again: Unit[] = []
  const loop = guardedLoop(placeOf<Unit>(context), {
    name: spec.name,
    effects: { effect: effectOf(context) },
    units: () => units(context, again),
    unitId: ({ id }) => id,
    work: async (unit, work) => {
      book.started('task')
      await atWork()
      // All at once: each waits at its own hold point.
      const parts = Array.from({ length: spec.fanOut ?? 0 }, (_, nth) => `${spec.name} part ${nth + 1}`)
      await Promise.all(
        parts.map((part) => work.enter(part, () => book.started('task', { within: true, part }))),
      )
      const { replayed } = await work.effects.effect({ ...unit, fails: false })
      if (replayed) sink.replayed()
      if (unit.fails) throw new Error('The loop failed after its effect.')
    },
    onDenied: 'wait',
    retryMs: paceMs,
    onFailed: (unit) => {
      sink.retried()
      again.push({ ...unit, fails: false })
    },
    onUnknown: () => sink.unknown(),
  })
  leaving.addEventListener('abort', () => void loop.close(), { once: true })
  await loop.run()
}

async function* units(context: LaneContext, again: Unit[]): AsyncGenerator<Unit> {
  const next = unitsOf(context)
  while (!context.leaving.aborted) {
    await pause(context.paceMs, context.leaving)
    yield again.shift() ?? next()
  }
}
