import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import { createLaneReplicas } from '../../../src/programs/lane-replicas.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { startTestControlPlane, startTestLanes } from '../../fixtures/control-plane.ts'
import { current, EMAIL, listenForStops, PAYMENTS, SERVER, toldTo } from './stream-client.ts'

const STREAMS = 1000

const both = [
  ['in one thread', startTestControlPlane],
  ['in a worker thread', startTestLanes],
] as const

describe.each(both)('%s', (_, start) => {
  test('a stop reaches a thousand streams within a moment, and validates are answered meanwhile', async () => {
    await using authority = await start()
    for (const deviceId of [SERVER, EMAIL]) await authority.register(deviceId)
    const streams = await Promise.all(
      Array.from({ length: STREAMS }, async (_unused, index) =>
        current(await listenForStops(authority, { replica: `r/${index}` })),
      ),
    )
    const validate = async () => {
      const sentMs = performance.now()
      const { body } = await authority.post(PATHS.validate, { deviceId: EMAIL }, authority.keys.runtime)
      expect(body.allowed).toBe(true)
      return performance.now() - sentMs
    }
    await validate()
    const epoch = await authority.revoke(SERVER)
    const ackedMs = performance.now()
    const [validateMs] = await Promise.all([
      validate(),
      ...streams.map((stream) => stream.next(1, ({ event }) => event === 'stop')),
    ])
    const allMs = performance.now() - ackedMs
    for (const stream of streams) {
      expect(toldTo(stream)).toEqual(['current 0', `stop ${epoch} tool-server`])
      stream[Symbol.dispose]()
    }
    console.log(
      `${STREAMS} streams told ${allMs.toFixed(0)} ms after the ack; a validate took ${validateMs.toFixed(0)} ms`,
    )
    expect(allMs).toBeLessThan(3000)
    expect(validateMs).toBeLessThan(2000)
  }, 60_000)
})

test('with several workers each stream is told once, whichever of them has it', async () => {
  await using authority = await startTestLanes({ workers: 3 })
  for (const deviceId of [SERVER, PAYMENTS]) await authority.register(deviceId)
  const streams = await Promise.all(
    Array.from({ length: 40 }, async (_unused, index) =>
      current(await listenForStops(authority, { replica: `r/${index}` })),
    ),
  )
  const first = await authority.revoke(SERVER)
  const second = await authority.revoke(PAYMENTS)
  for (const stream of streams) {
    await stream.next(2, ({ event }) => event === 'stop')
    expect(toldTo(stream)).toEqual(['current 0', `stop ${first} tool-server`, `stop ${second} payments`])
    stream[Symbol.dispose]()
  }
})

test('with several workers a replica that comes back has one stream, which is up', async () => {
  await using authority = await startTestLanes({ workers: 3 })
  const opened = []
  for (let count = 0; count < 12; count++) {
    opened.push(await current(await listenForStops(authority)))
    // Which of two that open in the same millisecond is the newer nobody can tell.
    await delay(3)
  }
  const last = opened.pop()
  await Promise.all(opened.map(({ closed }) => closed))
  const up = async () => {
    const { body } = await authority.get(PATHS.replicas, authority.keys.viewer)
    return (body.replicas as { stream: string }[] | undefined)?.map(({ stream }) => stream)
  }
  await expect.poll(up).toEqual(['up'])
  await delay(300)
  expect(await up()).toEqual(['up'])
  last?.[Symbol.dispose]()
  await expect.poll(up).toEqual(['down'])
})

test('what an older stream says of its end says nothing about a newer one in another lane', () => {
  const name = { orgId: 'o', keyId: 'k', replica: 'r', keyKind: 'runtime' as const }
  const seen = (streamUp: boolean, atMs: number) => ({
    seen: [{ ...name, streamUp, atMs }],
    told: [],
    acks: [],
  })
  const by = (atMs: number) => ({ orgId: 'o', keyId: 'k', replica: 'r', atMs })
  const replicas = createLaneReplicas<string>()
  expect(replicas.take('one', seen(true, 10)).superseded).toEqual([])
  expect(replicas.take('two', seen(true, 20)).superseded).toEqual([{ lane: 'one', by: by(20) }])
  expect(replicas.take('one', seen(false, 30)).evidence.seen).toEqual([])
  // Older, and heard of later.
  const late = replicas.take('three', seen(true, 15))
  expect(late.superseded).toEqual([{ lane: 'three', by: by(20) }])
  expect(late.evidence.seen).toEqual([])
  expect(replicas.take('two', seen(false, 40)).evidence.seen).toHaveLength(1)
  expect(replicas.take('one', seen(true, 50)).superseded).toEqual([])
})
