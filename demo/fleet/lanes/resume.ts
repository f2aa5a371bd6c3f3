import { entersAt, pause, unitsOf, type Lane } from './lane.ts'
import { SERVER_SURFACE } from '../topology.ts'

/** So many wait at once. */
const PAUSED = 3

/** Work that was put off: it asks again at `resume` before it goes on, and waits on when that is denied. */
export const resumeLane: Lane = async (context) => {
  const { guard, spec, book, sink, paceMs, leaving } = context
  entersAt(context)
  const next = unitsOf(context)
  const paused = Array.from({ length: PAUSED }, next)
  while (!leaving.aborted) {
    await pause(paceMs, leaving)
    const [unit] = paused
    if (unit === undefined || leaving.aborted) return
    const surface = guard.surface(SERVER_SURFACE)
    const ended = await guard.run({ surface, boundary: 'resume', tool: spec.name, callId: unit.id }, () => {
      book.started('resume')
      sink.resumed(unit.id)
    })
    if (!ended.allowed) continue
    paused.shift()
    paused.push(next())
  }
}
