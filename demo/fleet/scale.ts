import { CALLS } from '../../src/machineid/calls.ts'
import type { Org } from './control.ts'
import type { Processes } from './processes.ts'
import type { ReplicaSpec, Scaling } from './topology.ts'

const REASON = 'the fleet scales in'
/** Removed at once: each is one durable change. */
const AT_ONCE = 8

export async function usedOf({ operator }: Org): Promise<{ readonly used: number; readonly limit: number }> {
  const { devicesUsed, limit } = await operator.call(CALLS.usage, {})
  return { used: devicesUsed, limit }
}

/** Replicas leave: they end, and the autoscaler removes their devices, which frees their slots. */
export async function scaleIn(
  leaving: readonly ReplicaSpec[],
  processes: Processes,
  { operator }: Org,
): Promise<void> {
  const deviceIds = leaving.map(({ deviceId }) => deviceId)
  await processes.end(deviceIds)
  for (let at = 0; at < deviceIds.length; at += AT_ONCE) {
    await Promise.all(
      deviceIds
        .slice(at, at + AT_ONCE)
        .map((deviceId) => operator.call(CALLS.remove, { deviceId, reason: REASON })),
    )
  }
}

/** `count` replicas from this instance number on. */
export function instances({ replica }: Scaling, first: number, count: number): readonly ReplicaSpec[] {
  return Array.from({ length: count }, (_, index) => replica(first + index))
}

/** Each ends and starts again under its own instance number, as with a StatefulSet. */
export async function rollOut(replicas: readonly ReplicaSpec[], processes: Processes) {
  await processes.end(replicas.map(({ deviceId }) => deviceId))
  return processes.start(replicas)
}
