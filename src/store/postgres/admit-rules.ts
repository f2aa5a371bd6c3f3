import { HoldpointError } from '../../errors.ts'
import { assertDurable, AT_RISK } from './durability.ts'
import { look, type Found, type KnownChange, type Place } from './identity.ts'
import type { Session } from './session.ts'
import { judge, type Known, type Verdict } from './verdict.ts'

// What every connection to the control plane's store is held against, in whichever thread.

export const NOT_SETTLED = 'STORE_RESTORED'
/** Of a server that is there, and not to be used. */
export const REFUSALS: ReadonlySet<string> = new Set([
  NOT_SETTLED,
  'STORE_IN_RECOVERY',
  'STORE_OTHER',
  'STORE_OLDER',
  'STORE_NOT_DURABLE',
])

/** Throws `STORE_OTHER` for a database without our tables. */
export async function lookAt(
  session: Session,
  change: KnownChange | undefined,
  label: string,
): Promise<Found> {
  try {
    return await look(session, change)
  } catch (thrown) {
    if (!(thrown instanceof HoldpointError) || thrown.code !== 'STORE_FAILED') throw thrown
    throw new HoldpointError(
      'STORE_OTHER',
      `The database ${label} does not say which store it is (${thrown.message}). Check where the URL leads, and restore it whole.`,
      { cause: thrown },
    )
  }
}

/** Throws `STORE_IN_RECOVERY`, `STORE_OTHER`, `STORE_OLDER` and `STORE_NOT_DURABLE`. */
export function verdictOf(
  found: Found,
  known: Known | undefined,
  label: string,
): Exclude<Verdict, { kind: 'refused' }> {
  assertDurable(found.settings, label, AT_RISK.stops)
  const verdict = judge(found, known, label)
  if (verdict.kind === 'refused') throw verdict.error
  return verdict
}

export function isSame(one: Place, other: Place): boolean {
  return one.server === other.server && one.relation === other.relation && one.timeline === other.timeline
}

export function notSettled(label: string): HoldpointError {
  return new HoldpointError(
    NOT_SETTLED,
    `The database ${label} was restored, or taken over by another server, and is being looked at. Ask again.`,
  )
}
