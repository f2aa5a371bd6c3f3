// One lane in a thread, closed as soon as it listens. It loads little, so that the main thread strips the types of few
// files: what V8 then logs of the thread's WebAssembly is the thread's. See lanes.test.ts.

import { startLanes } from '../../src/programs/lanes.ts'

const [file = ''] = process.argv.slice(2)
const lanes = await startLanes({
  workers: 1,
  controlPlane: {
    accept: () => Promise.resolve(),
    metrics: { report: () => {} } as never,
    observe: () => {},
    suspect: () => {},
  },
  tells: new Set(),
  onDied: (error) => {
    throw error
  },
  settings: {
    source: { kind: 'sqlite', file },
    address: { host: '127.0.0.1', port: 0 },
    loopback: true,
    hosts: undefined,
    tls: undefined,
    recordAllows: undefined,
    limits: undefined,
    maxConnections: undefined,
    stopHeartbeatMs: undefined,
    inner: { port: 1, secret: 'none' },
    log: { level: 'silent', name: undefined },
    suspect: new Int32Array(new SharedArrayBuffer(4)),
    nodesCounted: new Int32Array(new SharedArrayBuffer(8)).fill(1, 0, 1),
    clockOffset: undefined,
  },
})
await lanes.close({ graceMs: 0 })
