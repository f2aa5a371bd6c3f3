import type { Allowed } from '../guard/decision.ts'
import type { Guard, HoldPoint, RunOutcome } from '../guard/guard.ts'
import type { Work } from '../guard/in-flight.ts'

/** What a run begins or goes on with. */
export interface Admitted {
  readonly work: Work
  /** For the session of the run, which a pushed stop of this reaches. */
  readonly decision: Allowed
}

/**
 * A hold point before a whole run. The run is no body of it: it has a session, which knows the stops that concern it, and
 * the signal of this permit would end also a run that was allowed anew since. What `body` throws is thrown.
 */
export async function gateRun<T>(
  guard: Guard,
  at: HoldPoint,
  body: (admitted: Admitted) => Promise<RunOutcome<T>>,
): Promise<RunOutcome<T>> {
  const checked = await guard.check(at)
  if (!checked.allowed) return checked
  const { permit, decision } = checked
  const started = permit.start(() => guard.track(at.signal, (work) => body({ work, decision })))
  return started.started ? started.value : { allowed: false, decision: started.denied }
}
