import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { openEventStream, type EventStreamClient } from '../../fixtures/event-stream.ts'
import { noPostgres, startPostgres, type TestPostgres } from '../../fixtures/postgres.ts'
import { startTcpProxy } from '../../nodes/tcp-proxy.ts'
import { bodiesOf, current, EMAIL, listenForStops, PAYMENTS, SERVER, toldTo } from '../stops/stream-client.ts'
import { startNode, startNodes, type TestNode, type TestNodes } from './nodes-world.ts'

// What one node commits reaches whoever listens to any of them: in order, once, and at the latest when they look again.

let server: TestPostgres

describe.skipIf(noPostgres)('control planes that share a database', () => {
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server?.close())

  type World = Pick<TestNodes<string>, 'keys'>
  const register = async ({ keys }: World, node: TestNode, ...deviceIds: string[]) => {
    for (const deviceId of deviceIds) await node.post(PATHS.register, { deviceId }, keys.full)
  }
  const revoke = async ({ keys }: World, node: TestNode, deviceId: string): Promise<number> =>
    Number((await node.post(PATHS.revoke, { deviceId, reason: 'test' }, keys.stop))['epoch'])
  const listen = async (
    { keys }: World,
    { url }: TestNode,
    options: Parameters<typeof listenForStops>[1] = {},
  ) => current(await listenForStops({ url, keys }, options))
  const stopsTo = (stream: EventStreamClient) =>
    bodiesOf(stream).flatMap((body) => (body.type === 'stop' ? [body.epoch] : []))
  const follow = ({ keys }: World, { operatorUrl }: TestNode, query = '') =>
    openEventStream(`${operatorUrl}${PATHS.feed}${query}`, { 'x-org-key': keys.viewer })
  const cutConnections = (url: string) =>
    server.query(
      url,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdpoint news' AND datname = current_database()",
    )

  test('G3: a stop that one of them acked is told to streams of the others a moment later', async () => {
    const world = await startNodes(server, ['a', 'b', 'c'])
    const { a, b, c } = world.of
    await register(world, a, SERVER, PAYMENTS)
    const streams = [
      await listen(world, a, { replica: 'r/a' }),
      await listen(world, b, { replica: 'r/b' }),
      await listen(world, c, { replica: 'r/c' }),
    ]
    const laterMs: number[] = []
    for (let round = 1; round <= 20; round++) {
      await revoke(world, a, PAYMENTS)
      const ackedAt = performance.now()
      await Promise.all(streams.map((stream) => stream.next(round, ({ event }) => event === 'stop')))
      laterMs.push(performance.now() - ackedAt)
    }
    const sorted = laterMs.toSorted((x, y) => x - y)
    console.info(
      `3 streams on 3 nodes told after the ack: median ${sorted[10]?.toFixed(1)} ms, most ${sorted.at(-1)?.toFixed(1)} ms`,
    )
    // Far less than the time between two looks: they were notified.
    expect(sorted[10]).toBeLessThan(300)
    for (const stream of streams) stream[Symbol.dispose]()
  })

  test('stops by all of them at once are told everywhere in the order of their epochs, each once', async () => {
    const world = await startNodes(server, ['a', 'b', 'c'])
    const { a, b, c } = world.of
    await register(world, a, SERVER, PAYMENTS, EMAIL)
    const before = await revoke(world, a, SERVER)
    using live = await listen(world, b, { replica: 'r/live', after: before })
    const acked: number[] = []
    let done = false
    const stopping = Promise.all(
      [a, b, c].map(async (node) => {
        for (let round = 0; round < 15; round++) acked.push(await revoke(world, node, PAYMENTS))
      }),
    ).then(() => (done = true))
    // Each goes on where its last stream ended, on the next node.
    const wander = async (replica: string, start: number) => {
      const told: number[] = []
      let after = before
      for (let at = start; ; at++) {
        const isLast = done
        using stream = await listen(world, [a, b, c][at % 3] as TestNode, { replica, after })
        if (!isLast) {
          const some = stream.next(2, ({ event }) => event === 'stop').catch(() => {})
          await Promise.race([some, stopping])
        }
        for (const body of bodiesOf(stream)) {
          if (body.type === 'stop') told.push(body.epoch)
          if (body.type === 'stop' || body.type === 'current') after = Math.max(after, body.epoch)
        }
        if (isLast) return told
      }
    }
    const wandered = await Promise.all([wander('r/1', 0), wander('r/2', 1)])
    const wanted = acked.toSorted((x, y) => x - y)
    await live.next(wanted.length, ({ event }) => event === 'stop')
    for (const told of [stopsTo(live), ...wandered]) expect(told).toEqual(wanted)
  }, 30_000)

  test('a stop is told also where the connection that hears of it was cut, in order and once', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using stream = await listen(world, b)
    const acked: number[] = []
    for (let round = 0; round < 12; round++) {
      if (round % 3 === 1) await cutConnections(world.databaseUrl)
      acked.push(await revoke(world, round % 2 === 0 ? a : b, PAYMENTS))
    }
    await stream.next(acked.length, ({ event }) => event === 'stop')
    expect(stopsTo(stream)).toEqual(acked)
  })

  test('a node whose network was cut tells what it missed once it is mended', async () => {
    await using proxy = await startTcpProxy(server.port)
    const world = await startNodes(server, ['a', 'b'], {
      through: (name, url) => (name === 'b' ? url.replace(`:${server.port}/`, `:${proxy.port}/`) : url),
    })
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using stream = await listen(world, b)
    const acked = [await revoke(world, a, PAYMENTS)]
    await stream.next(1, ({ event }) => event === 'stop')
    proxy.set('reset')
    for (let round = 0; round < 3; round++) acked.push(await revoke(world, a, PAYMENTS))
    expect(stopsTo(stream)).toEqual(acked.slice(0, 1))
    proxy.set('fine')
    await stream.next(acked.length, ({ event }) => event === 'stop')
    expect(stopsTo(stream)).toEqual(acked)
  })

  test('where news were lost the streams end, and whoever comes back is told what he missed', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using stream = await listen(world, b)
    using feed = await follow(world, b)
    const after = await revoke(world, a, PAYMENTS)
    await stream.next(1, ({ event }) => event === 'stop')
    await feed.next(1, ({ event }) => event === 'change')
    await server.query(world.databaseUrl, 'TRUNCATE holdpoint_control_plane.news RESTART IDENTITY')
    const missed = await revoke(world, a, PAYMENTS)
    await cutConnections(world.databaseUrl)
    await Promise.all([stream.closed, feed.closed])
    using again = await listen(world, b, { after })
    expect(stopsTo(again)).toEqual([missed])
    const later = await revoke(world, a, PAYMENTS)
    await again.next(2, ({ event }) => event === 'stop')
    expect(stopsTo(again)).toEqual([missed, later])
  })

  test('a replica that comes back on another node has one stream, and is known to have it', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using older = await listen(world, a)
    using newer = await listen(world, b)
    await older.closed
    const replicas = () => replicaStates(world, a)
    await expect.poll(replicas).toEqual(['r/1 up'])
    newer[Symbol.dispose]()
    await expect.poll(replicas).toEqual(['r/1 down'])
  })

  test('the streams of a node that ended are down, those of the others are up', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using _one = await listen(world, a, { replica: 'r/1' })
    using _two = await listen(world, b, { replica: 'r/2' })
    const replicas = () => replicaStates(world, b)
    await expect.poll(replicas).toEqual(['r/1 up', 'r/2 up'])
    await a.close()
    expect(await replicas()).toEqual(['r/1 down', 'r/2 up'])
    // One that starts says nothing of the streams of others.
    await startNode(world.databaseUrl)
    expect(await replicas()).toEqual(['r/1 down', 'r/2 up'])
  })

  test('the streams of a node that nothing is heard of any more are noted as down by any other', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using _one = await listen(world, a, { replica: 'r/1' })
    using _two = await listen(world, b, { replica: 'r/2' })
    const replicas = () => replicaStates(world, b)
    await expect.poll(replicas).toEqual(['r/1 up', 'r/2 up'])
    await a.store.shared?.leaveNodes()
    await b.store.closeStreams('gone')
    expect(await replicas()).toEqual(['r/1 down', 'r/2 up'])
  })

  test('with lanes in threads stops are told, older streams end, and all of them when news were lost', async () => {
    const world = await startNodes(server, ['a', 'b'], { threads: true })
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using older = await listen(world, a)
    using other = await listen(world, a, { replica: 'r/2' })
    const first = await revoke(world, b, PAYMENTS)
    await older.next(1, ({ event }) => event === 'stop')
    using newer = await listen(world, b)
    await older.closed
    const second = await revoke(world, a, PAYMENTS)
    await newer.next(1, ({ event }) => event === 'stop')
    await other.next(2, ({ event }) => event === 'stop')
    expect([stopsTo(older), stopsTo(newer), stopsTo(other)]).toEqual([[first], [second], [first, second]])
    await server.query(world.databaseUrl, 'TRUNCATE holdpoint_control_plane.news RESTART IDENTITY')
    await cutConnections(world.databaseUrl)
    await Promise.all([newer.closed, other.closed])
  })

  test('a key that is burned on one node has its streams of all nodes ended', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    await register(world, a, SERVER, PAYMENTS)
    using stops = await listen(world, b)
    using feed = await follow(world, b)
    const keyId = async (kind: string) =>
      (await a.store.listKeys(world.orgId)).find((key) => key.kind === kind)?.keyId ?? ''
    for (const kind of ['runtime', 'viewer']) {
      await a.post(PATHS.keyBurn.replace(':id', await keyId(kind)), { reason: 'test' }, world.keys.admin)
    }
    await Promise.all([stops.closed, feed.closed])
    expect(toldTo(stops).at(-1)).toMatch(/^key_cut \d+$/)
  })

  test('the feed of one node tells what the others change and decide, each once', async () => {
    const world = await startNodes(server, ['a', 'b', 'c'])
    const { a, b, c } = world.of
    await register(world, a, PAYMENTS)
    using feed = await follow(world, c)
    await revoke(world, a, PAYMENTS)
    await feed.next(1, ({ event }) => event === 'change')
    const asked: string[] = []
    for (const node of [a, b, c, a]) {
      const answer = await node.post(PATHS.validate, { deviceId: PAYMENTS }, world.keys.runtime)
      asked.push(String(answer['request_id']))
    }
    const decisions = await feed.next(4, ({ event }) => event === 'decision')
    expect(decisions.map(({ data }) => String(data.decision.request_id)).toSorted()).toEqual(asked.toSorted())
    await revoke(world, b, PAYMENTS)
    await revoke(world, c, PAYMENTS)
    const changes = await feed.next(3, ({ event }) => event === 'change')
    const epochs = changes.map(({ data }) => Number(data.row.after.epoch))
    expect(epochs).toEqual([epochs[0], epochs[0]! + 1, epochs[0]! + 2])
    expect(feed.events.length).toBe(7)
  })

  test('whoever comes back to the feed of another node is told what was stored since, and what comes', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    await register(world, a, PAYMENTS)
    using first = await follow(world, a)
    await revoke(world, a, PAYMENTS)
    const [seen] = await first.next(1, ({ data }) => data.row?.action === 'device.revoke')
    await revoke(world, a, PAYMENTS)
    using back = await openEventStream(`${b.operatorUrl}${PATHS.feed}`, {
      'x-org-key': world.keys.viewer,
      'last-event-id': seen?.id ?? '',
    })
    await revoke(world, a, PAYMENTS)
    const last = await revoke(world, b, PAYMENTS)
    await back.next(1, ({ data }) => data.row?.after?.epoch === last)
    const epochs = back.events
      .filter(({ data }) => data.row?.action === 'device.revoke')
      .map(({ data }) => Number(data.row.after.epoch))
    expect(epochs).toEqual([last - 2, last - 1, last])
  })

  test('a canary that a drill cuts off on one node gets no answer on any', async () => {
    const world = await startNodes(server, ['a', 'b'])
    const { a, b } = world.of
    const canary = 'openai-agent:test:canary:01'
    await register(world, a, canary)
    const asks = (node: TestNode) => node.post(PATHS.validate, { deviceId: canary }, world.keys.runtime)
    await asks(b)
    await a.post(PATHS.drillCut, { deviceId: canary, seconds: 60 }, world.keys.operator)
    const isCut = (node: TestNode) =>
      asks(node).then(
        () => false,
        () => true,
      )
    for (const node of [a, b]) await expect.poll(() => isCut(node)).toBe(true)
    await b.post(PATHS.drillCut, { deviceId: canary, seconds: 0 }, world.keys.operator)
    for (const node of [a, b]) await expect.poll(() => isCut(node)).toBe(false)
  })
})

/** For example `r/1 up`. */
async function replicaStates({ keys }: Pick<TestNodes<string>, 'keys'>, node: TestNode) {
  const response = await fetch(`${node.operatorUrl}${PATHS.replicas}`, {
    headers: { 'x-org-key': keys.viewer },
  })
  const { replicas } = (await response.json()) as { replicas: { replica: string; stream: string }[] }
  return replicas.map(({ replica, stream }) => `${replica} ${stream}`)
}
