import { PATHS } from '../../../src/machineid/paths.ts'
import { StopEvent, type StopEventBody } from '../../../src/machineid/wire-stops.ts'
import type { TestControlPlane } from '../../fixtures/control-plane.ts'
import { openEventStream, type EventStreamClient } from '../../fixtures/event-stream.ts'

export const SERVER = 'openai-agent:test:tool-server:01'
export const PAYMENTS = 'openai-agent:test:payments:01'
export const EMAIL = 'openai-agent:test:email:01'

export interface Listening {
  readonly replica?: string
  readonly devices?: readonly string[]
  readonly key?: string
  readonly after?: number | string
  readonly lastEventId?: number | string
}

/** Opens GET /stops as a guard does. */
export function listenForStops(
  { url, keys }: Pick<TestControlPlane, 'url' | 'keys'>,
  { replica = 'r/1', devices = [SERVER, PAYMENTS], key = keys.runtime, after, lastEventId }: Listening = {},
): Promise<EventStreamClient> {
  const query = new URLSearchParams({ replica, devices: devices.join(',') })
  if (after !== undefined) query.set('after', String(after))
  return openEventStream(`${url}${PATHS.stops}?${query.toString()}`, {
    'x-org-key': key,
    ...(lastEventId !== undefined && { 'last-event-id': String(lastEventId) }),
  })
}

/** Each as the wire's contract has it, with the id that it must have. */
export function bodiesOf(stream: EventStreamClient): StopEventBody[] {
  return stream.events.map(({ id, event, data }) => {
    const body = StopEvent.parse(data)
    const wanted = body.type === 'stop' || body.type === 'current' ? String(body.epoch) : undefined
    if (body.type !== event || wanted !== id) throw new Error(`${event} ${id}: ${JSON.stringify(data)}`)
    return body
  })
}

/** What came after the hello, in short: `stop 3 a,b`, `current 3`, `key_cut 4`. */
export function toldTo(stream: EventStreamClient): string[] {
  return bodiesOf(stream).flatMap((body) => {
    if (body.type === 'hello') return []
    if (body.type !== 'stop') return [`${body.type} ${body.epoch}`]
    return [`stop ${body.epoch} ${body.deviceIds.map((id) => id.split(':')[2]).join(',')}`]
  })
}

/** Resolves once everything up to the opening was told. */
export async function current(stream: EventStreamClient): Promise<EventStreamClient> {
  await stream.next(1, ({ event }) => event === 'current')
  return stream
}
