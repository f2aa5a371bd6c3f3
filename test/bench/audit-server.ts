import { addAuditRows } from '../fixtures/audit-rows.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'

// The real control plane with a long audit chain, in a process of its own.
const [dir = '', rows, deviceId = ''] = process.argv.slice(2)
const authority = await startTestControlPlane({ dir })
await authority.register(deviceId)
await authority.kill()
addAuditRows(authority.file, authority.orgId, Number(rows))
await authority.restart()
const { operatorUrl: url, file, orgId, keys } = authority
process.send?.({ url, file, orgId, keys })
process.on('disconnect', () => void authority.close().finally(() => process.exit()))
