import { join } from 'node:path'
import type { ControlPlaneConfig } from '../config.ts'
import { createControlPlane } from '../control-plane/control-plane.ts'
import { createService } from '../control-plane/service.ts'
import { listen } from '../http.ts'
import type { Logger } from '../log.ts'
import { openControlPlaneStore } from '../store/sqlite/control-plane.ts'
import { exit, namingPort, type Running } from './lifecycle.ts'
import { isLoopback } from '../loopback.ts'
import { ensureSecrets } from './secrets.ts'

/** What a new org's runtime key may ask for: the devices of agents, in any environment. */
const FIRST_BINDINGS = ['openai-agent:*']

/** The authority, listening: config → store → secrets → server. */
export async function startControlPlane(config: ControlPlaneConfig, log: Logger): Promise<Running> {
  const { HOST: host, DATA_DIR: dataDir, PLATFORM_TOKEN: platformToken } = config
  const store = openControlPlaneStore({ file: join(dataDir, 'control-plane.db') })
  try {
    const service = createService({ store, onDenialsLost: () => {} })
    const secrets = await ensureSecrets({ dataDir, service, bindings: FIRST_BINDINGS, platformToken })
    const controlPlane = createControlPlane({
      store,
      log,
      loopback: isLoopback(host),
      platformToken: platformToken ?? secrets.platformToken,
      hosts: config.ALLOWED_HOSTS,
      tls: config.tls,
      onFatal: () => exit(log, 1),
    })
    const listening = listen(controlPlane.server, { host, port: config.CONTROL_PLANE_PORT })
    const { url } = await namingPort('CONTROL_PLANE_PORT', listening)
    log.info({ url }, 'control plane is listening')
    return { url, close: () => controlPlane.close() }
  } catch (error) {
    await store.close()
    throw error
  }
}
