// What keeps stops back, in a process of its own: `stops-proxy.ts URL`. Sends { url }.
import { serveRemote } from '../../demo/fleet/remote.ts'
import { startStopsProxy, type PassingEvent } from '../faults/stops-proxy.ts'

export type ProxyApi = typeof api

const proxy = await startStopsProxy(process.argv[2] ?? '')
const passed = proxy.onEvent
let held: PassingEvent[] = []

const api = {
  /** From now on no stop gets through. The streams stay open. */
  hold: () => {
    proxy.onEvent = (event) => void (event.body.type === 'stop' ? held.push(event) : event.send())
  },
  /** Sends what was held, and holds no more. How many stops that were. */
  release: () => {
    proxy.onEvent = passed
    const late = held
    held = []
    for (const { send } of late) send()
    return late.length
  },
}
serveRemote(api)
process.send?.({ url: proxy.url })
