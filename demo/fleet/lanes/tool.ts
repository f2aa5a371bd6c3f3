import { guardedToolCore } from 'holdpoint'
import { fleetTool, type UnitArguments } from './fleet-tool.ts'
import { effectOf, entersAt, pause, placeOf, unitsOf, type Lane, type LaneContext } from './lane.ts'

/** A function tool, called as a host calls it. Of several surfaces its arguments choose one. */
export const toolLane: Lane = async (context) => {
  const { spec, sink, paceMs, leaving } = context
  entersAt(context)
  const tool = toolOf(context)
  const next = unitsOf(context)
  const call = async (id: string, tenant: string) => {
    const answer = await tool.call({ arguments: { id, tenant, fails: false }, callId: id })
    if (answer.kind === 'refused' && answer.body.error === 'outcome_unknown') sink.unknown()
    if (answer.kind === 'output' && answer.replayed) sink.replayed()
    return answer.kind
  }
  while (!leaving.aborted) {
    await pause(paceMs, leaving)
    if (leaving.aborted) return
    const { id, tenant, fails } = next()
    const ended = await call(id, tenant)
    if (!fails || ended !== 'output' || spec.effect === undefined) continue
    // A model or caller that lost the answer calls again.
    sink.retried()
    await call(id, tenant)
  }
}

function toolOf(context: LaneContext) {
  const { spec, book } = context
  const { name } = spec
  const effect = spec.effect && effectOf(context)
  const place = placeOf<UnitArguments>(context)
  const core = guardedToolCore(fleetTool(place, { name, description: `The fleet's ${name}`, book, effect }))
  if (core === undefined) throw new Error(`${name} is not guarded.`)
  return core
}
