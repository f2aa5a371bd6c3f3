// A control plane in a process of its own, for tests that kill it. `node child.ts DIR` sends over IPC
// { url, orgId, keys } with keys only at the first start, or { error } when it cannot start, or { fatal }.

import { join } from 'node:path'

import { createControlPlane } from '../../src/control-plane/control-plane.ts'
import type { HoldpointError } from '../../src/errors.ts'
import { listen } from '../../src/http.ts'
import { createLogger } from '../../src/log.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'

const tell = (message: object) => process.send?.(message)
const [, , dir = '.'] = process.argv

try {
  const controlPlane = createControlPlane({
    store: openControlPlaneStore({ file: join(dir, 'control-plane.db') }),
    log: createLogger({ level: 'silent' }),
    loopback: true,
    onFatal: ({ code, message }) => tell({ fatal: { code, message } }),
  })
  const { service } = controlPlane
  const org = (await service.countOrgs()) === 0 ? await service.createOrg({ kinds: ['full'] }) : undefined
  if (org !== undefined) {
    await service.setPlan({ actor: 'test', kind: 'platform', requestId: '' }, org.orgId, { tier: 'max' })
  }
  const { url } = await listen(controlPlane.server, { host: '127.0.0.1', port: 0 })
  process.on('SIGTERM', () => void controlPlane.close().then(() => process.disconnect()))
  tell({ url, ...org })
} catch (error) {
  const { code, message } = error as HoldpointError
  tell({ error: { code, message } })
  process.disconnect()
}
