import type { Commits } from './commit.ts'
import type { Guard, HoldPoint } from './guard.ts'
import { underOf, type Work } from './in-flight.ts'
import { CallRefusedError } from './refusal.ts'

interface Entered<T> {
  readonly at: HoldPoint
  readonly part: (work: Work) => T | Promise<T>
  /** The body of the call. */
  readonly within: Work
}

/** A part of a call behind a hold point of its own. The first refusal is the whole call's (C5), and C6 holds. */
export function enterPart<T>(guard: Guard, commits: Commits, entered: Entered<T>): Promise<T> {
  const entering = enter(guard, commits, entered)
  commits.hold(entering)
  return entering
}

async function enter<T>(guard: Guard, commits: Commits, { at, part, within }: Entered<T>): Promise<T> {
  if (commits.refusal !== undefined) throw new CallRefusedError(commits.refusal)
  if (commits.settled) throw commits.refused(guard.denyNow(at, 'LATE_COMMIT'))
  const checked = await guard.check(at)
  if (!checked.allowed) throw commits.refused(checked.decision)
  const started = checked.permit.start(
    () => guard.track(within.signal, ({ signal }) => part({ signal }), underOf(at, checked.decision)),
    () => {
      if (commits.settled) return 'LATE_COMMIT'
      // Looked at only now: of a stop that aborted the call, the authority says more than that.
      return commits.refusal === undefined && !within.signal.aborted ? undefined : 'CALL_ABORTED'
    },
  )
  if (!started.started) throw commits.refused(started.denied)
  return started.value
}
