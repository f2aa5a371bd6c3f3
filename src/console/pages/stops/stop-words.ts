import { shownStop, type ShownReplica } from '../../../key-cut.ts'
import type { StopBody } from '../../../machineid/wire-stops.ts'
import { count } from '../../ui/count.ts'

/** What a stop did, in words. `what` is somebody's text: a device ID, a pattern, or a key's id. */
export interface StopWords {
  readonly did: string
  readonly what: string | null
  /** What stands after it. */
  readonly more: string
}

export function stopWords({ action, deviceIds, deviceCount, pattern, keyId }: StopBody): StopWords {
  switch (action) {
    case 'org.disable':
      return { did: 'Disabled the whole org', what: null, more: '' }
    case 'lock.add':
      return { did: 'Locked', what: pattern, more: '' }
    case 'key.burn':
      return { did: 'Burned key', what: keyId, more: '' }
    case 'key.rotate':
      return { did: 'Rotated key', what: keyId, more: ' without overlap' }
    default: {
      const did = DID[action] ?? action
      const [first = null] = deviceIds
      if (deviceCount <= 1) return { did, what: first ?? pattern ?? keyId, more: '' }
      return { did: `${did} ${count(deviceCount, 'device')}:`, what: first, more: ', …' }
    }
  }
}

const DID: Readonly<Record<string, string>> = { 'device.revoke': 'Revoked', 'device.remove': 'Removed' }

/** The same as one plain text, for a title. */
export function stopTitle(stop: StopBody): string {
  if (stop.deviceCount > 1) return `${DID[stop.action] ?? stop.action} ${count(stop.deviceCount, 'device')}`
  const { did, what, more } = stopWords(stop)
  return `${did}${what === null ? '' : ` ${what}`}${more}`
}

/** Whether a replica may still confirm it: with a burned key none ever does. */
export function isOpen(stop: StopBody): boolean {
  return shownStop(stop).state === 'unconfirmed'
}

export interface Confirmation {
  readonly look: 'good' | 'warn' | 'quiet'
  /** Two or three words. */
  readonly short: string
  /** How many replicas have confirmed it, of how many; null where there is nobody to. */
  readonly share: string | null
  /** A sentence or two. */
  readonly told: string
}

/** What the replicas said of a stop, summed up. Never more hopeful than that. */
export function confirmationOf(stop: StopBody): Confirmation {
  const { state, replicas } = shownStop(stop)
  const of = (wanted: ShownReplica['state']) => replicas.filter((replica) => replica.state === wanted).length
  const share = replicas.length === 0 ? null : `${of('confirmed')} of ${count(replicas.length, 'replica')}`
  switch (state) {
    case 'confirmed': {
      const unknown = replicas.reduce((sum, replica) => sum + replica.unknown, 0)
      const doubt =
        unknown === 0 ? '' : ` Of ${count(unknown, 'effect')} nobody knows whether it happened: see Runs.`
      const told = `Every replica that it concerns said that nothing runs any more that the stop found.${doubt}`
      return { look: unknown === 0 ? 'good' : 'warn', short: 'Confirmed', share, told }
    }
    case 'no_replicas':
      return {
        look: 'quiet',
        short: 'No replicas',
        share,
        told: 'No process that it concerns was heard of in the hour before, so there is nobody to confirm it. It holds all the same: whoever asks is denied.',
      }
    case 'cut':
      return {
        look: 'warn',
        short: 'Cut',
        share: `${of('cut')} of ${count(replicas.length, 'replica')} told`,
        told: 'Nobody can confirm with a key that is burned. Nothing new starts with it; what ran when it was burned may still end on its own.',
      }
    case 'unconfirmed': {
      const open = replicas.length - of('confirmed')
      const told = `${count(open, 'replica')} ${open === 1 ? 'has' : 'have'} not said that what ran there has ended. Nothing new starts there all the same: each hold point asks, and is denied.`
      return { look: 'warn', short: 'Unconfirmed', share, told }
    }
  }
}

export const REPLICA_MEANS: Readonly<
  Record<ShownReplica['state'], { readonly look: 'good' | 'warn' | 'bad'; readonly means: string }>
> = {
  confirmed: { look: 'good', means: 'nothing runs there any more that the stop found' },
  acknowledged: { look: 'warn', means: 'it denies, and some of what the stop found still runs' },
  denying: { look: 'warn', means: 'it said nothing, but was denied after the stop' },
  told: { look: 'warn', means: 'the stop was sent to it, no more is known' },
  silent: { look: 'bad', means: 'nothing was heard of it' },
  cut: { look: 'warn', means: 'told that its key is cut, and its stream closed' },
}

/** What to do about replicas that have not confirmed a stop, most urgent first. */
export function whatToDo(stop: StopBody): string[] {
  const { state, replicas } = shownStop(stop)
  if (state !== 'unconfirmed') return []
  const states = new Set(replicas.map((replica) => replica.state))
  return [
    ...(states.has('silent') || states.has('told')
      ? [
          'A replica that is silent is denied at its next hold point, because it has to ask. What it had started before the stop may still run: kill the process, or burn its key under Keys, which also cuts its stream.',
        ]
      : []),
    ...(states.has('denying')
      ? [
          'A replica that was denied but has not acknowledged asks, and is told no. It keeps no stream of stops, so what it had started before is not known to have ended: kill the process if that matters.',
        ]
      : []),
    ...(states.has('acknowledged')
      ? [
          'A replica that has acknowledged denies everything new. Effects that had started finish by default, since one that is cut off may have happened all the same: wait for it, or kill the process and look up what became of it.',
        ]
      : []),
  ]
}

/** `+12 ms`, `+3.4 s`, since the stop. */
export function sinceStop(stop: Pick<StopBody, 'at'>, at: string | null): string | null {
  if (at === null) return null
  const ms = Date.parse(at) - Date.parse(stop.at)
  const sign = ms < 0 ? '−' : '+'
  const size = Math.abs(ms)
  if (size < 1000) return `${sign}${size} ms`
  if (size < 60_000) return `${sign}${(size / 1000).toFixed(1)} s`
  if (size < 3_600_000) return `${sign}${Math.round(size / 60_000)} min`
  return `${sign}${Math.round(size / 3_600_000)} h`
}
