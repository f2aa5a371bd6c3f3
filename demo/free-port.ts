import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that Linux gives away by itself, to outgoing connections too. */
const PORTS = { first: 20_000, last: 31_999 }
let nextPort = randomInt(PORTS.first, PORTS.last)

/**
 * A port of this machine that is free, and mostly stays so until somebody listens on it, also after a kill, whatever else
 * runs here. Each process begins elsewhere and takes one after the other, so that two rarely want the same.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    nextPort = nextPort === PORTS.last ? PORTS.first : nextPort + 1
    const port = nextPort
    const probe = createServer().listen(port, '127.0.0.1')
    const listening = await once(probe, 'listening').catch(() => undefined)
    if (listening === undefined) continue
    await once(probe.close(), 'close')
    return port
  }
}
