import type { StopEventBody } from '../../machineid/wire-stops.ts'

/** Shows that a stream without news lives. */
export const HEARTBEAT = ': \n\n'

/** One event as it goes over the wire. */
export function eventText(event: StopEventBody): string {
  // What can be gone on from: see `last-event-id`.
  const id = event.type === 'stop' || event.type === 'current' ? `id: ${event.epoch}\n` : ''
  return `${id}event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}
