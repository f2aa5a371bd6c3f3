import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'

import { FEED_TYPES, FeedEvent, FeedQuery } from '../machineid/wire-evidence.ts'
import { PATHS } from '../machineid/paths.ts'
import { orgRoute, type ApiContext, type OrgCall, type Route } from './api-route.ts'
import type { FeedEntry, FeedFilter, FeedType } from './feed-events.ts'
import { MAX_REPLAYED, replay } from './feed-replay.ts'
import { MAY_READ_EVIDENCE } from './key-kinds.ts'
import { Refusal } from './refusal.ts'
import { startEventStream, type EventStream } from '../sse.ts'

/** What happens in an org, as it happens. */
export function feedRoutes(context: ApiContext): Route[] {
  return [
    orgRoute(context, MAY_READ_EVIDENCE, {
      method: 'get',
      path: PATHS.feed,
      handler: 'feed',
      summary: 'Streams decisions, changes and overdue stops as they happen',
      input: FeedQuery,
      output: FeedEvent,
      outputType: 'text/event-stream',
      refusals: ['TOO_MANY_STREAMS', 'OVERLOADED'],
      run: async (call) => {
        const filter = filterOf(call.input)
        return { respond: (request, response) => tell(context, call, filter, { request, response }) }
      },
    }),
  ]
}

async function tell(
  { store, feed, onError }: ApiContext,
  { key, session, orgId }: Pick<OrgCall<unknown>, 'key' | 'session' | 'orgId'>,
  filter: FeedFilter,
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
): Promise<void> {
  const lastEventId = lastEventIdOf(request)
  if (response.destroyed) return
  const held = feed.streams.open({ key, session }, () => stream.end())
  const stream = startEventStream(response)
  const live = createLive(stream, { isOpen: held.isOpen, waits: lastEventId !== undefined })
  const unsubscribe = feed.subscribe({ orgId, filter, ...live })
  response.on('close', () => {
    unsubscribe()
    held.release()
  })
  if (lastEventId === undefined) return
  try {
    const reading = { store, turn: feed.streams.turn }
    await live.begin(lastEventId, await replay(reading, orgId, filter, lastEventId))
  } catch (error) {
    onError(response, error, 'feed')
    stream.cut()
  }
}

const ON_ITS_WAY_MS = 10_000

/** What happens now: kept back until what happened before is told, and then without what was told with it. */
function createLive(
  stream: EventStream,
  { isOpen, waits }: { readonly isOpen: () => boolean; readonly waits: boolean },
) {
  let kept: FeedEntry[] | undefined = waits ? [] : undefined
  let told: Set<string | undefined> | undefined
  let toldAtMs = 0
  const send = (entries: readonly FeedEntry[]) => {
    // What was on its way when the rest was read comes a moment later; from another node, in any order with our own.
    if (told !== undefined && performance.now() - toldAtMs > ON_ITS_WAY_MS) told = undefined
    const news = entries.filter(({ id }) => id === undefined || told?.delete(id) !== true)
    if (news.length > 0 && isOpen()) stream.send(textOf(news))
  }
  return {
    send: (entries: readonly FeedEntry[]) => {
      if (kept === undefined) send(entries)
      else if (kept.length + entries.length > MAX_REPLAYED) stream.cut()
      else kept.push(...entries)
    },
    beat: () => {
      if (isOpen()) stream.send(': \n\n')
    },
    cut: stream.cut,
    begin: async (lastEventId: string, before: readonly FeedEntry[]) => {
      await stream.sendPatiently(before.map(({ text }) => text()))
      told = new Set([lastEventId, ...before.map(({ id }) => id)])
      toldAtMs = performance.now()
      const meanwhile = kept ?? []
      kept = undefined
      send(meanwhile)
    },
  }
}

function textOf(entries: readonly FeedEntry[]): string {
  return entries.map(({ text }) => text()).join('')
}

function filterOf({ types, allowed, ...rest }: z.infer<typeof FeedQuery>): FeedFilter {
  return {
    ...rest,
    types: types === undefined ? undefined : new Set(types.split(',').map(typeOf)),
    allowed: allowed === undefined ? undefined : allowed === 'true',
  }
}

function typeOf(name: string): FeedType {
  const type = FEED_TYPES.find((known) => known === name)
  if (type !== undefined) return type
  throw new Refusal('BAD_REQUEST', `"types" must be some of ${FEED_TYPES.join(', ')}, with commas between.`)
}

const EVENT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}(?:\.\d{1,4})?$/

function lastEventIdOf({ headers }: IncomingMessage): string | undefined {
  const { 'last-event-id': given } = headers
  if (given === undefined || given === '') return undefined
  if (typeof given === 'string' && EVENT_ID.test(given)) return given
  throw new Refusal('BAD_REQUEST', 'The header last-event-id must be the id of an event of this feed.')
}
