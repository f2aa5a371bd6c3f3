import { setTimeout as sleep } from 'node:timers/promises'
import { EventSourceParserStream } from 'eventsource-parser/stream'

import { messageOf } from '../errors.ts'
import { jittered } from '../jitter.ts'
import { CliError } from './cli-error.ts'
import type { Http, Peer } from './http.ts'
import type { KeyAtHand } from './keys-at-hand.ts'
import type { EventsOptions, OperatorEvent } from './operator-client.ts'
import { goesBy, refusal } from './operator-refusal.ts'

export async function streamRefusal(
  { status, body }: { readonly status: number; readonly body: AsyncIterable<Buffer> },
  key: KeyAtHand,
): Promise<CliError> {
  let text = ''
  for await (const chunk of body) if (text.length < 16_384) text += chunk.toString()
  try {
    return refusal(status, JSON.parse(text), key)
  } catch {
    return refusal(status, undefined, key)
  }
}

interface Following extends EventsOptions {
  readonly http: Http
  readonly peer: Peer
  readonly key: KeyAtHand
  readonly path: string
  readonly signal: AbortSignal
}

/** Goes on where it ended. What never was there is an error; what was, is waited for. */
export async function* continued(following: Following): AsyncGenerator<OperatorEvent, void, void> {
  const { signal, onState } = following
  const place: Place = { lastId: undefined, told: new Set(), wasUp: false, waitMs: FIRST_WAIT_MS }
  while (!signal.aborted) {
    try {
      yield* opened(following, place)
      onState?.('down', 'the control plane ended the stream')
    } catch (error) {
      if (signal.aborted) return
      if (!place.wasUp || (error instanceof CliError && !goesBy(error))) throw error
      onState?.('down', messageOf(error))
    }
    // Ended by the signal, it is looked at above.
    await sleep(jittered(place.waitMs), undefined, { signal }).catch(() => undefined)
    place.waitMs = Math.min(place.waitMs * 2, MAX_WAIT_MS)
  }
}

const FIRST_WAIT_MS = 500
const MAX_WAIT_MS = 10_000

interface Place {
  lastId: string | undefined
  /** The ids of late. A feed that goes on repeats what was told a little before it ended. */
  readonly told: Set<string>
  wasUp: boolean
  waitMs: number
}

async function* opened(
  { http, peer, key, path, signal, onState }: Following,
  place: Place,
): AsyncGenerator<OperatorEvent, void, void> {
  const headers = {
    accept: 'text/event-stream',
    ...(place.lastId === undefined ? {} : { 'last-event-id': place.lastId }),
  }
  const answer = await http.stream(peer, { method: 'GET', path, headers, signal })
  if (answer.status !== 200) throw await streamRefusal(answer, key)
  place.wasUp = true
  place.waitMs = FIRST_WAIT_MS
  onState?.('up')
  for await (const event of eventsOf(answer.body)) {
    if (event.id !== undefined && isRepeated(event.id, place)) continue
    place.lastId = event.id ?? place.lastId
    yield event
  }
}

const MAX_TOLD = 4096

/** What came before the first event that was told counts as told too. The ids sort by time. */
function isRepeated(id: string, { told }: Place): boolean {
  const [first = id] = told
  if (told.has(id) || id < first) return true
  told.add(id)
  if (told.size > MAX_TOLD) told.delete(first)
  return false
}

async function* eventsOf(body: AsyncIterable<Buffer>): AsyncGenerator<OperatorEvent, void, void> {
  const events = ReadableStream.from(body)
    .pipeThrough(new TextDecoderStream() as unknown as TransformStream<Buffer, string>)
    .pipeThrough(new EventSourceParserStream())
  for await (const { event = 'message', id, data } of events) {
    try {
      yield { event, id, data: JSON.parse(data) as unknown }
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    }
  }
}
