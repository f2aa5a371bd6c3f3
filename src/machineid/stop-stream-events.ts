import { createParser } from 'eventsource-parser'

import { parseStrictObject } from './strict-json.ts'
import { StopEvent, type StopEventBody } from './wire-stops.ts'

/** Of one event. */
const MAX_EVENT_CHARS = 64 * 1024

export interface StopEventHandlers {
  /** Exactly as the contract says. */
  readonly onEvent: (event: StopEventBody) => void
  /** It should have been one of ours, and is not. */
  readonly onBadEvent: () => void
  /** Something came, if only a heartbeat. Told after the event that it was. */
  readonly onAlive: () => void
  /** It cannot be read any further. */
  readonly onTooLarge: () => void
}

const TYPES = new Set<string | undefined>(StopEvent.options.map(({ shape }) => shape.type.value))

/** Reads the text of a stream as it comes. Types that it does not know are passed over: newer authorities have more. */
export function stopEventReader(handlers: StopEventHandlers): (text: string) => void {
  let terminated = false
  const tooLarge = (): void => {
    terminated = true
    handlers.onTooLarge()
  }
  const parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') tooLarge()
    },
    onComment: handlers.onAlive,
    onEvent: ({ event: type, data }) => {
      if (terminated) return
      if (data.length > MAX_EVENT_CHARS) return tooLarge()
      if (TYPES.has(type)) {
        const event = StopEvent.safeParse(parseStrictObject(Buffer.from(data)))
        if (event.success && event.data.type === type) handlers.onEvent(event.data)
        else handlers.onBadEvent()
      }
      handlers.onAlive()
    },
  })
  return (text) => {
    if (!terminated) parser.feed(text)
  }
}
