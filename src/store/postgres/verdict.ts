import { HoldpointError } from '../../errors.ts'
import type { Found, KnownChange, Place } from './identity.ts'

/** What this process knows of the store, and holds a database against. */
export interface Known {
  readonly storeId: string
  readonly generation: number
  readonly place: Place
  /** The last change that it acked, or that its predecessor in this DATA_DIR did. */
  readonly change?: KnownChange | undefined
  /** When this process last looked, commits waited for a standby. Undefined when it has not looked, or not of late. */
  readonly synchronous?: boolean | undefined
}

export type Verdict =
  | { readonly kind: 'same' }
  | { readonly kind: 'refused'; readonly error: HoldpointError }
  /** A new store: its place is noted. */
  | { readonly kind: 'first' }
  /** A standby took over with all that was acked: its place is noted. */
  | { readonly kind: 'noted'; readonly found: string }
  /** Stops may be missing: a new generation begins (G6). `found` for the log, `what` for the audit. */
  | { readonly kind: 'restored'; readonly found: string; readonly what: string }

/** Whether a server is the one that has all acked stops. What cannot be told is taken for a restore: fail closed. */
export function judge(found: Found, known: Known | undefined, label: string): Verdict {
  const { place, noted } = found
  if (place === undefined) return refused('STORE_IN_RECOVERY', label, IN_RECOVERY)
  if (known !== undefined && known.storeId !== found.storeId)
    return { kind: 'refused', error: otherStore(label) }
  const restored = restoredAs(found, place, known)
  if (restored !== undefined) return { kind: 'restored', ...restored }
  if (noted === undefined) return { kind: 'first' }
  if (isOlder(found, place, known)) return refused('STORE_OLDER', label, OLDER)
  if (place.timeline === noted.timeline) return { kind: 'same' }
  return {
    kind: 'noted',
    found: `a standby took over with all that was acked, since commits waited for it (timeline ${noted.timeline} to ${place.timeline})`,
  }
}

interface Restored {
  readonly found: string
  readonly what: string
}

function restoredAs(found: Found, place: Place, known: Known | undefined): Restored | undefined {
  const { noted } = found
  if (found.restoredAtMs !== null) {
    return { found: 'marked by restore-backup', what: 'Restored from a backup' }
  }
  if (noted === undefined) {
    return known && { found: 'a store that was noted nowhere', what: 'Restored from a copy' }
  }
  if (place.server !== noted.server) {
    return {
      found: `another server (system identifier ${noted.server} before, ${place.server} now)`,
      what: 'Restored from a copy on another server',
    }
  }
  if (place.relation !== noted.relation) {
    return {
      found: `tables made anew (${noted.relation} before, ${place.relation} now)`,
      what: 'Restored from a dump',
    }
  }
  const isNoted = place.timeline === noted.timeline
  const doubt = isNoted ? doubtOfNoted(found, place, known) : doubtOf(found, place, known)
  if (doubt === undefined) return undefined
  const before = isNoted ? known?.place.timeline : noted.timeline
  return {
    found: `${doubt} (timeline ${before} before, ${place.timeline} now)`,
    what: 'Restored to an earlier time, or taken over by a standby that may lack stops',
  }
}

/** Another node, which had acked less than this one, or had not seen what this one has, saw nothing missing. */
function doubtOfNoted(found: Found, place: Place, known: Known | undefined): string | undefined {
  if (known === undefined || place.timeline <= known.place.timeline) return undefined
  if (isMissing(found, known)) return MISSING
  if (known.synchronous !== false || found.accepted || found.generation !== known.generation) return undefined
  return `${NOT_SYNCHRONOUS}, as this node has seen`
}

const MISSING = 'a change that this node acked is missing'

const NOT_SYNCHRONOUS = 'a new timeline, and commits waited for no standby'

/**
 * Why a new timeline may lack what was acked; undefined when commits waited for whoever began it. What the database itself
 * says of that is believed only where it says no: a standby that was lost, and is promoted later, never heard that commits
 * had stopped to wait for it. So it takes a process that has seen the old primary until just now.
 */
function doubtOf(found: Found, place: Place, known: Known | undefined): string | undefined {
  const { settings, noted } = found
  if (noted !== undefined && place.timeline < noted.timeline) return 'an earlier timeline than was noted'
  if (settings.pointInTime) return 'recovered to a recovery_target, which is still set'
  if (known !== undefined && isMissing(found, known)) return MISSING
  if (!found.synchronous || known?.synchronous === false) return NOT_SYNCHRONOUS
  if (known?.synchronous === true) return undefined
  return 'a new timeline, and this node has not seen of late whether commits waited for a standby'
}

function isOlder(found: Found, place: Place, known: Known | undefined): boolean {
  if (known === undefined || found.generation > known.generation) return false
  if (found.generation < known.generation || isMissing(found, known)) return true
  return place.server === known.place.server && place.timeline < known.place.timeline
}

/** A new generation lacks changes of the one before, and has told so. */
function isMissing(found: Found, known: Known): boolean {
  return found.generation === known.generation && !found.hasChange
}

type Problem = readonly [problem: string, next: string]

const IN_RECOVERY: Problem = [
  'is a standby, or recovering, and its answers may be old',
  'Let the URL lead to the primary.',
]
const OTHER: Problem = [
  'belongs to another control plane than the one that this node has used',
  'Check where the URL leads. If it is meant, delete store-seen.json in DATA_DIR, and start this process again.',
]
const OLDER: Problem = [
  'is older than what this node has seen of it, so what was stopped meanwhile would be allowed again',
  'Let the URL lead to the newer one. If there is none, say so: npx holdpoint restore-backup',
]

export function otherStore(label: string): HoldpointError {
  return problemOf('STORE_OTHER', label, OTHER)
}

function refused(code: string, label: string, problem: Problem): Verdict {
  return { kind: 'refused', error: problemOf(code, label, problem) }
}

function problemOf(code: string, label: string, [problem, next]: Problem): HoldpointError {
  return new HoldpointError(code, `The database ${label} ${problem}. ${next}`)
}
