// A control plane in a process of its own, with its lanes in threads, for tests that kill it. `node child.ts DIR`
// sends over IPC { url, operatorUrl, orgId, keys } with keys only at the first start, or { error } when it cannot
// start, or { fatal }, or { died }.

import { join } from 'node:path'

import type { HoldpointError } from '../../src/errors.ts'
import { createLogger } from '../../src/log.ts'
import { serveControlPlane } from '../../src/programs/serve-control-plane.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'

const tell = (message: object) => process.send?.(message)
const [, , dir = '.'] = process.argv

try {
  const file = join(dir, 'control-plane.db')
  const { url, operatorUrl, controlPlane, close } = await serveControlPlane({
    store: openControlPlaneStore({ file }),
    source: { kind: 'sqlite', file },
    host: '127.0.0.1',
    port: 0,
    operatorPort: 0,
    log: createLogger({ level: 'silent' }),
    loopback: true,
    limitCalls: false,
    limits: { perKeyPerSecond: 0, perOrgPerSecond: 0 },
    onFatal: ({ code, message }) => tell({ fatal: { code, message } }),
    onDied: (error) => tell({ died: String(error) }),
  })
  const { service } = controlPlane
  const org = (await service.countOrgs()) === 0 ? await service.createOrg({ kinds: ['full'] }) : undefined
  if (org !== undefined) {
    const caller = { actor: 'test', kind: 'platform', requestId: null, origin: null } as const
    await service.setPlan(caller, org.orgId, { tier: 'max' })
  }
  process.on('SIGTERM', () => void close().then(() => process.disconnect()))
  tell({ url, operatorUrl, ...org })
} catch (error) {
  const { code, message } = error as HoldpointError
  tell({ error: { code, message } })
  process.disconnect()
}
