import { HoldpointError } from '../../errors.ts'
import type { Database, DatabaseOptions } from './database.ts'
import type { Session } from './session.ts'
import { assertDurable, AT_RISK } from './durability.ts'
import { look, type Found, type KnownChange, type Place } from './identity.ts'
import type { Settled } from './restored.ts'
import { judge, type Known } from './verdict.ts'

export interface AdmissionOptions {
  readonly label: string
  /** What an earlier process knew of the store. */
  readonly known?: Known | undefined
  /** Notes where the store is now, or begins a new generation. Absent where another thread of this process does it. */
  readonly settle?: ((known: Known | undefined) => Promise<Settled>) | undefined
  /** Told of each place and generation that is new to this process. */
  readonly onEntered?: ((settled: Settled, before: Known | undefined) => void) | undefined
}

/** Who may use a connection: one that leads to the primary, with all stops that this process knows of (G1, G6). */
export interface Admission {
  readonly admit: NonNullable<DatabaseOptions['admit']>
  /** Looks again, and once more when something had to be settled first. Throws as `admit`. */
  readonly look: (database: Pick<Database, 'read'>) => Promise<Found>
  /** A change that this process has acked: a database without it is none of ours. */
  readonly noteChange: (change: KnownChange) => void
  readonly noteSynchronous: (synchronous: boolean) => void
  /** Undefined until the first connection. */
  readonly known: () => Known | undefined
}

/**
 * One statement for each new connection. Throws `STORE_IN_RECOVERY`, `STORE_OTHER`, `STORE_OLDER`, `STORE_NOT_DURABLE`,
 * and `STORE_RESTORED` while a restored database has not begun its new generation.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { label, settle, onEntered } = options
  let known = options.known
  let settling: Promise<void> | undefined

  const enter = (settled: Settled) => {
    const { place, storeId, generation } = settled.found
    // Another connection may have found a newer one meanwhile.
    if (place === undefined || (known !== undefined && generation < known.generation)) return
    const before = known
    const isNew = before?.generation !== generation || !isSame(before.place, place)
    known = {
      storeId,
      generation,
      place,
      // A new generation lacks changes of the one before.
      change: before?.generation === generation ? before.change : undefined,
      // Nor has anybody seen how commits are made there.
      synchronous: isNew ? undefined : before.synchronous,
    }
    if (isNew) onEntered?.(settled, before)
  }

  /** Goes on behind what asked for it: a new generation can take longer than anybody waits for a connection. */
  const beginSettling = () => {
    if (settle === undefined || settling !== undefined) return
    settling = settle(known)
      .then(enter)
      .finally(() => (settling = undefined))
    // Whoever looks next begins it anew, and `look` tells of it.
    settling.catch(() => {})
  }

  const check = async (session: Session): Promise<Found> => {
    const found = await lookAt(session, known?.change, label)
    assertDurable(found.settings, label, AT_RISK.stops)
    const verdict = judge(found, known, label)
    if (verdict.kind === 'refused') throw verdict.error
    if (verdict.kind !== 'same') {
      beginSettling()
      throw notSettled(label)
    }
    enter({ found, verdict })
    return found
  }

  return {
    look: async ({ read }) => {
      try {
        return await read(check)
      } catch (thrown) {
        if (settling === undefined || !(thrown instanceof HoldpointError) || thrown.code !== NOT_SETTLED)
          throw thrown
        await settling
        return read(check)
      }
    },
    admit: async (session) => {
      const { place } = await check(session)
      return () => place !== undefined && known !== undefined && isSame(place, known.place)
    },
    noteChange: (change) => {
      if (known !== undefined) known = { ...known, change }
    },
    noteSynchronous: (synchronous) => {
      if (known !== undefined) known = { ...known, synchronous }
    },
    known: () => known,
  }
}

const NOT_SETTLED = 'STORE_RESTORED'

async function lookAt(session: Session, change: KnownChange | undefined, label: string): Promise<Found> {
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

function isSame(one: Place, other: Place): boolean {
  return one.server === other.server && one.relation === other.relation && one.timeline === other.timeline
}

function notSettled(label: string): HoldpointError {
  return new HoldpointError(
    NOT_SETTLED,
    `The database ${label} was restored, or taken over by another server, and is being looked at. Ask again.`,
  )
}
