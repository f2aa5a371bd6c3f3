import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { StopEvidence, StopRecord } from '../../../src/control-plane/stops/stop-store.ts'
import { createStopStreams, type StopStreamsOptions } from '../../../src/control-plane/stops/stop-streams.ts'
import { closeServer, createWebServer, listen } from '../../../src/http.ts'
import { openEventStream, type EventStreamClient } from '../../fixtures/event-stream.ts'

export const ORG = 'org-1'

/**
 * The streams alone, on a real server, above a store of which the test decides when it commits and when it tells. The
 * answer to a read comes `readTurns` turns of the event loop after what it says was so; 0: at once, as SQLite's does.
 */
export async function startStreams(options: Partial<StopStreamsOptions> = {}, readTurns = 0) {
  const committed: StopRecord[] = []
  const untold: StopRecord[] = []
  const evidence: StopEvidence[] = []
  const responses: ServerResponse[] = []
  let epoch = 0
  let betweenReads = async () => {}
  const streams = createStopStreams({
    reader: { read: () => undefined },
    stops: {
      since: (_orgId, after, limit) => {
        const rows = committed.filter((row) => row.epoch > after)
        const last = rows[limit - 1]
        const page = last === undefined ? rows : rows.filter((row) => row.epoch <= last.epoch)
        return readTurns === 0 ? page : turns(readTurns).then(() => page)
      },
    },
    observe: (seen) => void evidence.push(seen),
    nowMs: () => Date.now(),
    problem: () => undefined,
    onFailed: (error) => {
      throw error
    },
    maxInAll: 100_000,
    ...options,
  })
  const server = createWebServer({}, undefined, (request, response) => {
    const query = new URL(request.url ?? '', 'http://localhost').searchParams
    const open = async () => {
      const orgEpoch = epoch
      // Between the read of the key and that of the stops others may commit.
      await betweenReads()
      responses.push(response)
      const after = query.get('after')
      response.setHeader('x-org-epoch', orgEpoch)
      streams.open(
        {
          orgId: ORG,
          keyId: query.get('key') ?? 'key',
          keyKind: 'runtime',
          replica: query.get('replica') ?? '',
          deviceIds: (query.get('devices') ?? '').split(','),
          orgEpoch,
          afterEpoch: after === null ? undefined : Number(after),
        },
        response,
      )
    }
    void open()
  })
  const { url } = await listen(server, { host: '127.0.0.1', port: 0 })
  return {
    streams,
    committed,
    evidence,
    /** Of the server, in the order in which they were opened. */
    responses,
    epoch: () => epoch,
    betweenReads: (meanwhile: () => Promise<void>) => void (betweenReads = meanwhile),
    /** A restore, say: it raises the epoch, and is no stop. */
    raise: () => void epoch++,
    commit: (stop: Partial<StopRecord> = {}): number => {
      const none = { deviceId: null, pattern: null, keyId: null, reason: null }
      const row = { orgId: ORG, epoch: ++epoch, action: 'test', by: 'stop:key', atMs: 0, ...none, ...stop }
      committed.push(row)
      untold.push(row)
      return epoch
    },
    /** The oldest that were not told yet. */
    deliver: (count = Number.POSITIVE_INFINITY) => streams.stopped(untold.splice(0, count)),
    open: (query: Record<string, string>): Promise<EventStreamClient> =>
      openEventStream(`${url}/?${new URLSearchParams(query).toString()}`, {}),
    [Symbol.asyncDispose]: async () => {
      streams.close()
      streams.flush()
      await closeServer(server, { graceMs: 200 })
    },
  }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn()
}

export type StartedStreams = Awaited<ReturnType<typeof startStreams>>
