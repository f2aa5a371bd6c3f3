import { useQueryClient } from '@tanstack/react-query'
import { useCallback, useMemo } from 'react'

import type { ApiError } from '../../api/api-error.ts'
import { mayManage } from '../../api/roles.ts'
import type { Output } from '../../api/routes.ts'
import { useSession } from '../../api/session-state.ts'
import { useCall } from '../../api/use-call.ts'
import { rowOf, type Row } from './device-filter.ts'
import { denialsOf, type Device, type Lock, type OrgStanding } from './device-state.ts'

/** What the page is about, each from a call of its own. */
export interface DevicesData {
  readonly devices: readonly Device[]
  readonly rows: readonly Row[]
  readonly byId: ReadonlyMap<string, Device>
  /** Those that are held. */
  readonly locks: readonly Lock[]
  readonly org: OrgStanding
  readonly usage: Output<'usage'> | undefined
  readonly replicas: Output<'replicas'>['replicas']
  readonly keyNames: ReadonlyMap<string, string>
  /** Asks again for what a change has changed. Without the feed, nothing else would for a while. */
  readonly renew: () => Promise<Pick<DevicesData, 'devices' | 'locks'>>
}

/** So many that the whole list is not asked for every few seconds; changes are told by the feed. */
const MANY_DEVICES = 1000
const ALLOWING: OrgStanding = { disabled: false, planState: 'active' }

export function useDevices() {
  const session = useSession()
  const client = useQueryClient()
  const known = client.getQueryData<Output<'devices'>>(['devices', {}])?.devices.length ?? 0
  const answer = useCall('devices', {}, { everyMs: known > MANY_DEVICES ? 60_000 : 10_000 })
  // Without it no device is known to be allowed.
  const usageAnswer = useCall('usage', {}, { everyMs: 10_000 })
  const usage = usageAnswer.data
  const lockAnswer = useCall('locks', {}, { everyMs: 10_000 })
  const lockList = lockAnswer.data?.locks
  const replicaAnswer = useCall('replicas', {}, { everyMs: 5000 })
  const replicaList = replicaAnswer.data?.replicas
  const keys = useCall('keys', {}, { enabled: mayManage(session) }).data?.keys

  const replicas = useMemo(() => replicaList ?? [], [replicaList])
  const locks = useMemo(() => lockList ?? [], [lockList])
  const keyNames = useMemo(
    () => new Map((keys ?? []).map(({ keyId, name, kind }) => [keyId, name ?? `${kind} key`])),
    [keys],
  )
  const org = useStanding(usage)
  const devices = answer.data?.devices
  const inFlight = useMemo(() => inFlightOf(replicas), [replicas])
  const rows = useMemo(
    () =>
      (devices ?? []).map((device) =>
        rowOf(device, denialsOf(device, org), inFlight.get(device.deviceId) ?? 0),
      ),
    [devices, org, inFlight],
  )
  const byId = useMemo(() => new Map((devices ?? []).map((device) => [device.deviceId, device])), [devices])
  const renew = useCallback(async () => {
    await Promise.all(
      ['devices', 'locks', 'usage', 'audit', 'stopHistory'].map((name) =>
        client.invalidateQueries({ queryKey: [name] }),
      ),
    )
    return {
      devices: client.getQueryData<Output<'devices'>>(['devices', {}])?.devices ?? [],
      locks: client.getQueryData<Output<'locks'>>(['locks', {}])?.locks ?? [],
    }
  }, [client])

  const data: DevicesData = useMemo(
    () => ({ devices: devices ?? [], rows, byId, locks, org, usage, replicas, keyNames, renew }),
    [devices, rows, byId, locks, org, usage, replicas, keyNames, renew],
  )
  const lockCount = lockAnswer.data?.locks.length
  return {
    answer,
    usage: usageAnswer,
    refused: refusalOf(lockAnswer.error, replicaAnswer.error),
    lockCount,
    data,
  }
}

/** The same object while it is the same. */
function useStanding(usage: Output<'usage'> | undefined): OrgStanding {
  const { disabled, planState } = usage === undefined ? ALLOWING : { ...usage, ...usage.org }
  return useMemo(() => ({ disabled, planState }), [disabled, planState])
}

/** That nobody answers is said elsewhere. */
function refusalOf(...errors: readonly (ApiError | null)[]): ApiError | undefined {
  return errors.find((error) => error !== null && error.status !== 0) ?? undefined
}

function inFlightOf(replicas: DevicesData['replicas']): ReadonlyMap<string, number> {
  const sums = new Map<string, number>()
  for (const { deviceId, inFlight } of replicas.flatMap((replica) => replica.devices)) {
    sums.set(deviceId, (sums.get(deviceId) ?? 0) + inFlight)
  }
  return sums
}
