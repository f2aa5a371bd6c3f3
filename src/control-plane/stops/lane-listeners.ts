import type { KeyKind } from '../../machineid/wire.ts'
import type { EventStream } from '../../sse.ts'
import { Refusal } from '../refusal.ts'

/** A process, as its key and its name tell it from others. */
export interface ReplicaName {
  readonly orgId: string
  readonly keyId: string
  readonly replica: string
}

/** One open stream of stops. */
export interface StopListener extends ReplicaName {
  readonly keyKind: KeyKind
  readonly deviceIds: readonly string[]
  /** Wall-clock milliseconds. */
  readonly openedAtMs: number
  readonly stream: EventStream
  /** Every stop up to this epoch that concerns it was told. Grows. */
  toldEpoch: number
  /** The highest epoch of those that it could not be told when the lane heard of them, as it was not live yet. */
  heardEpoch: number
  /** False while it is told what it missed, which is read from the store, and once it has ended. */
  live: boolean
}

/** Those of one org, by what a stop can be about. */
export interface OrgListeners {
  readonly all: ReadonlySet<StopListener>
  readonly byDevice: ReadonlyMap<string, ReadonlySet<StopListener>>
  readonly byKey: ReadonlyMap<string, ReadonlySet<StopListener>>
}

export interface StopListeners {
  /** Throws `TOO_MANY_STREAMS`. */
  readonly assertRoom: (name: ReplicaName) => void
  /** One for each name: `find` the older and `remove` it before. */
  readonly add: (listener: StopListener) => void
  /** False when it is gone already. */
  readonly remove: (listener: StopListener) => boolean
  readonly find: (name: ReplicaName) => StopListener | undefined
  readonly ofOrg: (orgId: string) => OrgListeners | undefined
  readonly orgs: () => Iterable<OrgListeners>
  readonly size: () => number
}

interface Held {
  readonly all: Set<StopListener>
  readonly byDevice: Map<string, Set<StopListener>>
  readonly byKey: Map<string, Set<StopListener>>
}

/** Who listens in one lane. A stop of one device looks only at those that have it. */
export function createStopListeners(options: {
  readonly maxPerOrg: number
  readonly maxInAll: number
}): StopListeners {
  const { maxPerOrg, maxInAll } = options
  const byOrg = new Map<string, Held>()
  const byName = new Map<string, StopListener>()

  return {
    assertRoom: (name) => {
      if (byName.has(nameOf(name))) return
      if ((byOrg.get(name.orgId)?.all.size ?? 0) >= maxPerOrg) {
        throw tooMany(`This org has ${maxPerOrg} streams of stops open, the most it may have. Close some`)
      }
      if (byName.size >= maxInAll) {
        throw tooMany('As many streams of stops are open as this control plane serves. Close some')
      }
    },
    add: (listener) => {
      const { orgId, keyId, deviceIds } = listener
      const org = byOrg.get(orgId) ?? { all: new Set(), byDevice: new Map(), byKey: new Map() }
      byOrg.set(orgId, org)
      byName.set(nameOf(listener), listener)
      org.all.add(listener)
      put(org.byKey, keyId, listener)
      for (const deviceId of deviceIds) put(org.byDevice, deviceId, listener)
    },
    remove: (listener) => {
      const { orgId, keyId, deviceIds } = listener
      const org = byOrg.get(orgId)
      if (org?.all.delete(listener) !== true) return false
      byName.delete(nameOf(listener))
      take(org.byKey, keyId, listener)
      for (const deviceId of deviceIds) take(org.byDevice, deviceId, listener)
      if (org.all.size === 0) byOrg.delete(orgId)
      return true
    },
    find: (name) => byName.get(nameOf(name)),
    ofOrg: (orgId) => byOrg.get(orgId),
    orgs: () => byOrg.values(),
    size: () => byName.size,
  }
}

/** Neither an org nor a key has a space in its id. */
export function nameOf({ orgId, keyId, replica }: ReplicaName): string {
  return `${orgId} ${keyId} ${replica}`
}

function put(map: Map<string, Set<StopListener>>, key: string, listener: StopListener): void {
  const listeners = map.get(key)
  if (listeners === undefined) map.set(key, new Set([listener]))
  else listeners.add(listener)
}

function take(map: Map<string, Set<StopListener>>, key: string, listener: StopListener): void {
  const listeners = map.get(key)
  listeners?.delete(listener)
  if (listeners?.size === 0) map.delete(key)
}

function tooMany(why: string): Refusal {
  return new Refusal('TOO_MANY_STREAMS', `${why}, or go on without: validates are answered all the same.`)
}
