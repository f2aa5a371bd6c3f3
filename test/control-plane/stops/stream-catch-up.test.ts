import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'

import type { StopRecord } from '../../../src/control-plane/stops/stop-store.ts'
import { ORG, startStreams } from './stream-harness.ts'

const stopOf = (epoch: number, deviceId: string | null): StopRecord => ({
  orgId: ORG,
  epoch,
  action: 'test',
  deviceId,
  pattern: null,
  keyId: null,
  by: 'stop:key',
  reason: null,
  atMs: 0,
})

test('what was missed is written in pieces: a stream that missed much holds no more than others (64 KiB)', async () => {
  await using lane = await startStreams()
  for (let count = 0; count < 300; count++) lane.commit()
  const writes: number[] = []
  const { responses } = lane
  responses.push = (response) => {
    const write = response.write.bind(response) as (text: string) => boolean
    response.write = ((text: string) => {
      writes.push(text.length)
      return write(text)
    }) as typeof response.write
    return Array.prototype.push.call(responses, response)
  }
  const devices = Array.from({ length: 64 }, (_, at) => `s:p:${'x'.repeat(110)}:${at}`).join(',')
  using client = await lane.open({ replica: 'one', devices, after: '0' })
  await client.next(1, ({ event }) => event === 'current')

  const told = client.events.filter(({ event }) => event === 'stop').map(({ id }) => Number(id))
  expect(told).toEqual(Array.from({ length: 300 }, (_, at) => at + 1))
  expect(writes.length).toBeGreaterThan(10)
  expect(Math.max(...writes)).toBeLessThanOrEqual(64 * 1024)
})

test('a stop that is committed and heard of while the store answers is told: the stream reads again before it lives', async () => {
  const reads: { readonly answer: (page: readonly StopRecord[]) => void }[] = []
  await using lane = await startStreams({
    stops: { since: () => new Promise((answer) => void reads.push({ answer })) },
  })
  const opening = lane.open({ replica: 'one', devices: 's:p:payments:01' })
  await expect.poll(() => reads.length).toBe(1)
  // What was read is on its way here, without it.
  const epoch = lane.commit({ deviceId: 's:p:payments:01' })
  lane.deliver()
  // Of no concern to this stream.
  lane.commit({ deviceId: 's:p:email:01' })
  lane.deliver()
  reads[0]?.answer([])
  await expect.poll(() => reads.length).toBe(2)
  reads[1]?.answer([stopOf(epoch, 's:p:payments:01')])
  using client = await opening
  await client.next(1, ({ event }) => event === 'current')
  expect(client.events.map(({ event, id }) => [event, id])).toEqual([
    ['hello', undefined],
    ['stop', String(epoch)],
    ['current', String(epoch)],
  ])
  expect(reads.length).toBe(2)
})

test('a stream that is gone when the store answers is told nothing', async () => {
  const reads: ((page: readonly StopRecord[]) => void)[] = []
  await using lane = await startStreams({
    stops: { since: () => new Promise((answer) => void reads.push(answer)) },
  })
  const older = lane.open({ replica: 'one', devices: 's:p:payments:01' })
  await expect.poll(() => reads.length).toBe(1)
  const newer = lane.open({ replica: 'one', devices: 's:p:payments:01' })
  await expect.poll(() => reads.length).toBe(2)
  for (const answer of reads) answer([])
  using client = await newer
  await client.next(1, ({ event }) => event === 'current')
  using ended = await older
  await ended.closed
  expect(ended.events).toEqual([])
})

test('many that missed much take turns: validates are answered in between', async () => {
  const STREAMS = 40
  const PAGES = 40
  let calls = 0
  await using lane = await startStreams({
    stops: {
      since: (_orgId, after, limit) => {
        calls += 1
        // As long as a page of a real store takes.
        for (const endMs = performance.now() + 1; performance.now() < endMs;);
        if (after >= PAGES * limit) return []
        return Array.from({ length: limit }, (_, at) => stopOf(after + at + 1, 's:p:other:01'))
      },
    },
  })
  for (let count = 0; count < PAGES * 256; count++) lane.raise()
  const clients = await Promise.all(
    Array.from({ length: STREAMS }, (_, at) =>
      lane.open({ replica: `r${at}`, devices: 's:p:payments:01', after: '0' }),
    ),
  )
  const currents = clients.map((client) => client.next(1, ({ event }) => event === 'current'))
  let done = false
  const all = Promise.all(currents).then(() => (done = true))
  let most = 0
  while (!done) {
    const before = calls
    await nextTurn()
    most = Math.max(most, calls - before)
  }
  await all

  expect(calls).toBe(STREAMS * (PAGES + 1))
  // 5 ms of pages, and not one of each stream.
  expect(most).toBeLessThan(STREAMS / 2)
  for (const client of clients) client[Symbol.dispose]()
})

test('a key that is found burned ends its stream, and is no evidence of a stop: nobody knows its epoch', async () => {
  const burned = {
    orgId: ORG,
    keyId: 'key',
    kind: 'runtime',
    bindings: null,
    endsAtMs: null,
    endedAs: 'burned',
  }
  await using lane = await startStreams({
    heartbeatMs: 20,
    reader: { read: () => ({ key: burned, orgEpoch: 99, devices: [] }) as never },
  })
  using client = await lane.open({ replica: 'one', devices: 's:p:payments:01' })
  await client.next(1, ({ event }) => event === 'key_cut')
  await client.closed
  lane.streams.flush()
  expect(lane.evidence.flatMap(({ told }) => told)).toEqual([])
})
