// The control plane as `npm start` serves it, with its agent lane in a thread, on a file that outlives it:
// `stops-control-plane.ts JSON`. Sends { url, operatorUrl, orgId, keys }. Each start makes a new org: whoever starts it
// anew on the same file goes on with the org and the keys that it had first.
import { createServer } from 'node:net'

import { startTestLanes } from '../fixtures/control-plane.ts'

export interface StopsServerOptions {
  readonly dir: string
  /** Of the agent lane. */
  readonly port?: number
  readonly stopHeartbeatMs?: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as StopsServerOptions
// What was killed a moment ago may still hold its port.
if (options.port !== undefined) await free(options.port)
const { url, operatorUrl, orgId, keys, port, close } = await startTestLanes({ plan: 'scale', ...options })
process.send?.({ url, operatorUrl, orgId, keys, port })
process.on('disconnect', () => void close().finally(() => process.exit()))

async function free(port: number): Promise<void> {
  for (;;) {
    const probe = createServer()
    const listening = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => resolve(true))
    })
    await new Promise((resolve) => (listening ? probe.close(resolve) : setTimeout(resolve, 20)))
    if (listening) return
  }
}
