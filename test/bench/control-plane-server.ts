// The real control plane, in a process of its own, on a file of its own: `control-plane-server.ts JSON`. Sends
// { url, operatorUrl, orgId, keys } once its devices are registered. Ends with its parent.
import { startTestControlPlane, startTestLanes } from '../fixtures/control-plane.ts'

export interface ServerOptions {
  readonly deviceIds: readonly string[]
  /** Threads that answer validates; 0 does everything in one thread. */
  readonly workers: number
  readonly recordAllows?: boolean
}

export interface ServerReady {
  readonly url: string
  readonly operatorUrl: string
  readonly orgId: string
  readonly keys: { readonly runtime: string; readonly stop: string; readonly full: string }
}

const { deviceIds, workers, recordAllows = false } = JSON.parse(process.argv[2] ?? '{}') as ServerOptions
const options = { recordAllows, plan: { limit: deviceIds.length } }
const controlPlane =
  workers === 0 ? await startTestControlPlane(options) : await startTestLanes({ ...options, workers })
const { service, orgId, url, operatorUrl, keys } = controlPlane
const caller = { actor: 'bench', kind: 'platform', requestId: null, origin: null } as const
for (const deviceId of deviceIds) await service.register(caller, orgId, { deviceId })
process.send?.({ url, operatorUrl, orgId, keys } satisfies ServerReady)
process.on('disconnect', () => void controlPlane.close().finally(() => process.exit()))
