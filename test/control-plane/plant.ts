import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { deviceRecord } from '../contract/control-plane-records.ts'

/** Writes devices into a file that no control plane is using, all at once, with a cap that just holds them. */
export async function plantDevices(
  file: string,
  orgId: string,
  deviceIds: readonly string[],
  labels: Readonly<Record<string, string>> = {},
): Promise<void> {
  const store = openControlPlaneStore({ file })
  await store.change(orgId, {}, (snapshot) => {
    if (snapshot === undefined) throw new Error('no org')
    const devices = deviceIds.map((deviceId, n) => deviceRecord(deviceId, n + 1, { labels }))
    const { length: cap } = deviceIds
    return { result: undefined, org: { ...snapshot.org, cap, used: cap }, devices }
  })
  await store.close()
}
