import { startTestControlPlane } from '../fixtures/control-plane.ts'

// The real control plane, in a process of its own.
const [...deviceIds] = process.argv.slice(2)
const controlPlane = await startTestControlPlane()
for (const deviceId of deviceIds) await controlPlane.register(deviceId)
process.send?.({ url: controlPlane.url, key: controlPlane.keys.runtime })
process.on('disconnect', () => void controlPlane.close().finally(() => process.exit()))
