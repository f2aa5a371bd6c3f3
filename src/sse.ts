import type { ServerResponse } from 'node:http'

import { jittered } from './jitter.ts'
import { drained } from './drained.ts'

const MAX_WAITING_BYTES = 1024 * 1024
const RECONNECT_MS = 4000
const FINISH_WITHIN_MS = 30_000

/** A `text/event-stream` that has begun. */
export interface EventStream {
  /** Lines of the protocol, with an empty one at their end. False when nobody will read them. */
  readonly send: (text: string) => boolean
  /** One after the other, as fast as they are read. */
  readonly sendPatiently: (texts: Iterable<string>) => Promise<void>
  /** Hangs up on a reader who does not keep up. */
  readonly cut: () => void
  readonly end: () => void
  /** Ends after what was sent before has been read; whoever does not read on is hung up on after a while. */
  readonly finish: () => void
}

/** Each reader is told another time after which to come back, so that they do not all come at once. */
export function startEventStream(
  response: ServerResponse,
  options: {
    /** What may wait for a reader who is told more; beyond that it is cut, and can come back. Default 1 MiB. */
    readonly maxWaitingBytes?: number
  } = {},
): EventStream {
  const { maxWaitingBytes = MAX_WAITING_BYTES } = options
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    // A proxy must neither keep it back nor compress it.
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
  })
  response.write(`retry: ${Math.round(jittered(RECONNECT_MS))}\n\n`)
  return {
    send: (text) => {
      if (response.writableEnded || response.destroyed) return false
      if (response.writableLength <= maxWaitingBytes) {
        response.write(text)
        return true
      }
      response.destroy()
      return false
    },
    sendPatiently: async (texts) => {
      for (const text of texts) {
        if (response.writableEnded || response.destroyed) return
        response.write(text)
        await drained(response)
      }
    },
    cut: () => response.destroy(),
    end: () => {
      // Whoever does not read would not read the end either.
      if (response.writableLength > 0) response.destroy()
      else response.end()
    },
    finish: () => {
      if (response.writableEnded || response.destroyed) return
      response.end()
      const timer = setTimeout(() => response.destroy(), FINISH_WITHIN_MS).unref()
      response.once('close', () => clearTimeout(timer))
    },
  }
}
