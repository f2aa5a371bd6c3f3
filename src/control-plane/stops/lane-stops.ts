import type { IncomingMessage, ServerResponse } from 'node:http'

import { StopsQuery } from '../../machineid/wire-stops.ts'
import { PATHS } from '../../machineid/paths.ts'
import { KEY_HEADER } from '../../machineid/wire.ts'
import { redact } from '../../redact.ts'
import { parse } from '../api-parse.ts'
import { isCanary } from '../drills/canary.ts'
import { keyIdOf, keyMatches, keyProblem, mayAskFor } from '../keys.ts'
import { endedKey, invalidKey, missingKey, notBound, Refusal, wrongKind } from '../refusal.ts'
import { pathOf, queryOf } from '../request-path.ts'
import type { DecisionReader } from '../store.ts'
import type { StopOpening, StopStreams } from './stop-streams.ts'

const HANDLER = 'stops'

export interface LaneStopsOptions {
  readonly reader: DecisionReader
  readonly streams: Pick<StopStreams, 'open'>
  /** Wall-clock milliseconds. */
  readonly nowMs: () => number
  /** Throws `RATE_LIMITED` when a genuine key, or its org, opens streams too often. */
  readonly quota: (keyId: string, orgId: string) => void
  /** Throws `OVERLOADED` when validates would have to wait for it. */
  readonly shed: () => void
  readonly onError: (response: ServerResponse, error: unknown, handler: string) => void
}

/** Answers GET /stops. False leaves the request to the rest of the API. */
export function createLaneStops(
  options: LaneStopsOptions,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const open = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      options.shed()
      if (request.method !== 'GET') throw wrongMethod(response)
      const opening = await admit(options, request)
      if (!response.destroyed) options.streams.open(opening, response)
    } catch (error) {
      options.onError(response, error, HANDLER)
    }
  }
  return (request, response) => {
    if (pathOf(request) !== PATHS.stops) return false
    // Sent before the answer to the question ahead of it is out: it waits for that.
    if (response.socket === null) response.once('socket', () => void open(request, response))
    else void open(request, response)
    return true
  }
}

/** The key is judged before the query, as with validates. */
async function admit(
  { reader, nowMs, quota }: LaneStopsOptions,
  request: IncomingMessage,
): Promise<StopOpening> {
  const key = request.headers[KEY_HEADER]
  if (typeof key !== 'string' || key === '') throw missingKey()
  const id = keyIdOf(key)
  const snapshot = id === undefined ? undefined : await reader.read(id, [])
  if (!keyMatches(key, snapshot?.key) || snapshot === undefined) throw invalidKey()
  const { keyId, orgId, kind, bindings } = snapshot.key
  const problem = keyProblem(snapshot.key, nowMs())
  if (problem !== undefined) throw endedKey(problem)
  quota(keyId, orgId)
  if (kind !== 'runtime' && kind !== 'full') throw wrongKind(kind, ['runtime', 'full'])
  const { replica, devices, after } = parse(StopsQuery, Object.fromEntries(queryOf(request)))
  const bound = devices.filter((deviceId) => mayAskFor(bindings, deviceId))
  // The canary of a drill is listened for also where the key may never ask for it: that must not cost the real ones.
  if (!devices.every((deviceId) => bound.includes(deviceId) || isCanary(deviceId))) throw notBound()
  return {
    orgId,
    keyId,
    keyKind: kind,
    // Kept, and shown: never a key that slipped in.
    replica: redact(replica),
    deviceIds: bound,
    orgEpoch: snapshot.orgEpoch,
    afterEpoch: lastEventIdOf(request) ?? after,
  }
}

const EPOCH = /^\d{1,16}$/

function lastEventIdOf({ headers }: IncomingMessage): number | undefined {
  const { 'last-event-id': given } = headers
  if (given === undefined || given === '') return undefined
  if (typeof given === 'string' && EPOCH.test(given)) return Number(given)
  throw new Refusal('BAD_REQUEST', 'The header last-event-id must be the id of an event of this stream.')
}

function wrongMethod(response: ServerResponse): Refusal {
  response.setHeader('allow', 'GET')
  return new Refusal('METHOD_NOT_ALLOWED', 'This call takes GET.')
}
