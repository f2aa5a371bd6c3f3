import { ageMs, systemClock, type Clock, type Instant } from '../../clock.ts'
import { HoldpointError } from '../../errors.ts'
import type { Database, DatabaseOptions } from './database.ts'
import type { Session } from './session.ts'
import { isSame, lookAt, NOT_SETTLED, notSettled, REFUSALS, verdictOf } from './admit-rules.ts'
import type { Found, KnownChange, Place } from './identity.ts'
import type { Knowledge, Learned, Revision } from './learned.ts'
import type { Settled } from './restored.ts'
import type { Known } from './verdict.ts'

export interface AdmissionOptions {
  readonly label: string
  /** What an earlier process knew of the store. */
  readonly known?: Known | undefined
  /** Notes where the store is now, or begins a new generation. */
  readonly settle: (known: Known | undefined) => Promise<Settled>
  /** Told of each place and generation that is new to this process. */
  readonly onEntered?: ((settled: Settled, before: Known | undefined) => void) | undefined
  /** Default: that of this process. */
  readonly clock?: Clock | undefined
}

/** Who may use a connection: one that leads to the primary, with all stops that this process knows of (G1, G6). */
export interface Admission extends Knowledge {
  readonly admit: NonNullable<DatabaseOptions['admit']>
  /**
   * Looks again, and once more when something had to be settled first. Throws as `admit`, and then no connection that is
   * open is current any more.
   */
  readonly look: (database: Pick<Database, 'read'>) => Promise<Found>
  /** A change that this process has acked: a database without it is none of ours. */
  readonly noteChange: (change: KnownChange) => void
  readonly noteSynchronous: (synchronous: boolean) => void
  /** Undefined until the first connection. */
  readonly known: () => Known | undefined
}

/** So long after it last saw that commits wait for a standby, a process no longer knows: another may have seen the end of it. */
const SYNCHRONOUS_FOR_MS = 120_000

/**
 * One statement for each new connection. Throws `STORE_IN_RECOVERY`, `STORE_OTHER`, `STORE_OLDER`, `STORE_NOT_DURABLE`,
 * and `STORE_RESTORED` while a restored database has not begun its new generation.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { label, settle, onEntered, clock = systemClock } = options
  const newest: Revision = new Int32Array(new SharedArrayBuffer(4))
  const listeners: ((learned: Learned) => void)[] = []
  let known = options.known
  let synchronousSeen: Instant | undefined
  let settling: Promise<void> | undefined

  const revision = () => Atomics.load(newest, 0)
  const learned = (): Learned => ({ known, revision: revision(), newest })
  const learn = (next: Known) => {
    known = next
    for (const listener of listeners) listener(learned())
  }
  /** No connection that is open is current any more. */
  const outdate = () => {
    Atomics.add(newest, 0, 1)
    for (const listener of listeners) listener(learned())
  }
  const knownOfLate = (): Known | undefined => {
    if (known?.synchronous !== true || synchronousSeen === undefined) return known
    return ageMs(synchronousSeen, clock.now()) <= SYNCHRONOUS_FOR_MS
      ? known
      : { ...known, synchronous: undefined }
  }

  const enter = (settled: Settled) => {
    const { place, storeId, generation } = settled.found
    // Another connection may have found a newer one meanwhile.
    if (place === undefined || isBehind({ generation, place }, known)) return
    const before = known
    const isNew = before?.generation !== generation || !isSame(before.place, place)
    if (!isNew) return
    known = {
      storeId,
      generation,
      place,
      // A new generation lacks changes of the one before. Nor has anybody seen how commits are made there.
      change: before?.generation === generation ? before.change : undefined,
    }
    outdate()
    onEntered?.(settled, before)
  }

  /** Goes on behind what asked for it: a new generation can take longer than anybody waits for a connection. */
  const beginSettling = () => {
    if (settling !== undefined) return
    settling = settle(knownOfLate())
      .then(enter)
      .finally(() => (settling = undefined))
    // Whoever looks next begins it anew, and `look` tells of it.
    settling.catch(() => {})
  }

  const check = async (session: Session): Promise<{ readonly found: Found; readonly at: number }> => {
    const before = revision()
    const found = await lookAt(session, known?.change, label)
    // What was found may be what is outdated.
    if (revision() !== before) return check(session)
    const verdict = verdictOf(found, knownOfLate(), label)
    if (verdict.kind !== 'same') {
      beginSettling()
      throw notSettled(label)
    }
    enter({ found, verdict })
    return { found, at: revision() }
  }
  const lookOnce = async ({ read }: Pick<Database, 'read'>): Promise<Found> => {
    try {
      return (await read(check)).found
    } catch (thrown) {
      // What is open leads there, too. What opens anew is looked at by itself.
      if (thrown instanceof HoldpointError && REFUSALS.has(thrown.code)) outdate()
      throw thrown
    }
  }

  return {
    look: async (database) => {
      try {
        return await lookOnce(database)
      } catch (thrown) {
        if (settling === undefined || !(thrown instanceof HoldpointError) || thrown.code !== NOT_SETTLED)
          throw thrown
        await settling
        return lookOnce(database)
      }
    },
    admit: async (session) => {
      const { at } = await check(session)
      return () => revision() === at
    },
    noteChange: (change) => {
      if (known !== undefined) learn({ ...known, change })
    },
    noteSynchronous: (synchronous) => {
      if (known === undefined) return
      known = { ...known, synchronous }
      synchronousSeen = clock.now()
    },
    known: () => known,
    learned,
    onLearned: (listener) => void listeners.push(listener),
    lookAnew: beginSettling,
  }
}

/** An earlier generation, or an earlier timeline of the same one. */
function isBehind(
  one: { readonly generation: number; readonly place: Place },
  known: Known | undefined,
): boolean {
  if (known === undefined || one.generation > known.generation) return false
  if (one.generation < known.generation) return true
  return one.place.server === known.place.server && one.place.timeline < known.place.timeline
}
