import type { StopBody } from './machineid/wire-stops.ts'

type Replica = StopBody['replicas'][number]

/** A stop as people are shown it. In JSON it stays as the API says. */
export interface ShownStop extends Omit<StopBody, 'state' | 'replicas'> {
  readonly state: StopBody['state'] | 'cut'
  readonly replicas: readonly ShownReplica[]
}
export interface ShownReplica extends Omit<Replica, 'state'> {
  readonly state: Replica['state'] | 'cut'
}

/**
 * Nobody can acknowledge with a key that is burned, so such a stop is never confirmed and waits for nothing: it is `cut`,
 * and so is each replica that was told before its stream was closed.
 */
export function shownStop(stop: StopBody): ShownStop {
  if (stop.keyId === null || stop.state !== 'unconfirmed') return stop
  const cut = (replica: Replica): ShownReplica =>
    replica.toldAt !== null && replica.state !== 'confirmed' ? { ...replica, state: 'cut' } : replica
  return { ...stop, state: 'cut', replicas: stop.replicas.map(cut) }
}
