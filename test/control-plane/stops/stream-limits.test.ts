import { describe, expect, test } from 'vitest'

import { systemClock, type Clock } from '../../../src/clock.ts'
import { HoldpointError } from '../../../src/errors.ts'
import { PATHS } from '../../../src/machineid/paths.ts'
import { startTestControlPlane, startTestLanes } from '../../fixtures/control-plane.ts'
import { current, listenForStops, SERVER, toldTo } from './stream-client.ts'
import { ORG, startStreams } from './stream-harness.ts'

const both = [
  ['in one thread', startTestControlPlane],
  ['in worker threads', startTestLanes],
] as const

describe.each(both)('a stream of stops, %s', (_, start) => {
  test('shows that it lives while nothing happens', async () => {
    await using authority = await start({ stopHeartbeatMs: 20 })
    using stream = await current(await listenForStops(authority))
    expect(stream.events[0]?.data).toMatchObject({ type: 'hello', heartbeatMs: 20 })
    await expect.poll(() => stream.lines.filter((line) => line.startsWith(': ')).length).toBeGreaterThan(3)
  })

  test('G5: ends when the store can no longer be trusted, and none is opened', async () => {
    await using authority = await start({ stopHeartbeatMs: 50 })
    using stream = await current(await listenForStops(authority))
    authority.controlPlane.suspect(new HoldpointError('STORE_IO', 'The disk is gone. Restore a backup.'))
    await stream.closed
    expect(toldTo(stream)).toEqual(['current 0'])
    using next = await listenForStops(authority)
    await next.closed
    expect(next.status).toBe(503)
  })

  test('that is asked for too often is refused, and validates go on', async () => {
    await using authority = await start({ limits: { perKeyPerSecond: 2, perOrgPerSecond: 100 } })
    const statuses: number[] = []
    for (let count = 0; count < 12; count++) {
      using stream = await listenForStops(authority, { replica: `r/${count}` })
      statuses.push(stream.status)
    }
    expect(statuses[0]).toBe(200)
    expect(statuses).toContain(429)
    const asked = await authority.post(PATHS.validate, { deviceId: SERVER }, authority.keys.runtime)
    expect(asked.status).toBe(200)
  })

  test('is no answer of a drill: questions about the canary are cut for as long as it said', async () => {
    await using authority = await start()
    const canary = 'openai-agent:test:canary:01'
    for (const deviceId of [SERVER, canary]) await authority.register(deviceId)
    const { post, keys } = authority
    const validate = (deviceId: string) => post(PATHS.validate, { deviceId }, keys.runtime)
    const cut = (seconds: number) => post(PATHS.drillCut, { deviceId: canary, seconds }, keys.operator)
    expect((await validate(canary)).body.allowed).toBe(true)
    expect((await cut(60)).status).toBe(200)
    await expect.poll(() => validate(canary).catch(() => 'cut')).toBe('cut')
    const both = { deviceIds: [SERVER, canary], nonce: 'n'.repeat(22) }
    await expect(post(PATHS.validateBatch, both, keys.runtime)).rejects.toThrow()
    expect((await validate(SERVER)).body.allowed).toBe(true)
    expect((await cut(0)).status).toBe(200)
    await expect
      .poll(() =>
        validate(canary).then(
          ({ body }) => body.allowed,
          () => 'cut',
        ),
      )
      .toBe(true)
  })
})

test('a key whose overlap has passed ends its streams at the next heartbeat, without key_cut', async () => {
  let movedMs = 0
  const clock: Clock = {
    now: () => {
      const { monotonicMs, wallMs } = systemClock.now()
      return { monotonicMs: monotonicMs + movedMs, wallMs: wallMs + movedMs }
    },
  }
  await using authority = await startTestControlPlane({ clock, stopHeartbeatMs: 20 })
  const { key, keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'runtime' })
  const rotate = PATHS.keyRotate.replace(':id', keyId)
  await authority.post(rotate, { overlapSeconds: 60 }, authority.keys.admin)
  using ending = await current(await listenForStops(authority, { key }))
  using other = await current(await listenForStops(authority))
  await ending.line(': ')
  movedMs = 61_000
  await ending.closed
  expect(toldTo(ending)).toEqual(['current 0'])
  const beats = other.lines.length
  await expect.poll(() => other.lines.length).toBeGreaterThan(beats + 1)
})

test('no more than an org may have are open, and the newer one of a replica takes no place', async () => {
  await using authority = await startTestControlPlane({ maxStopStreams: 2 })
  const other = await authority.service.createOrg({ kinds: ['runtime'] })
  using first = await current(await listenForStops(authority, { replica: 'r/1' }))
  using second = await current(await listenForStops(authority, { replica: 'r/2' }))
  using third = await listenForStops(authority, { replica: 'r/3' })
  await third.closed
  expect([third.status, third.json()]).toMatchObject([429, { code: 'TOO_MANY_STREAMS', handler: 'stops' }])
  using newer = await current(await listenForStops(authority, { replica: 'r/2' }))
  expect(newer.status).toBe(200)
  using elsewhere = await current(await listenForStops(authority, { key: other.keys.runtime ?? '' }))
  expect(elsewhere.status).toBe(200)
  first[Symbol.dispose]()
  await second.closed
  const status = async () => {
    using again = await listenForStops(authority, { replica: 'r/3' })
    return again.status
  }
  await expect.poll(status).toBe(200)
})

test('streams leave connections to questions', async () => {
  await using authority = await startTestControlPlane({ maxConnections: 8 })
  await authority.register(SERVER)
  const streams = []
  for (let count = 0; count < 7; count++) {
    streams.push(await listenForStops(authority, { replica: `r/${count}` }))
  }
  expect(streams.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200, 429])
  const asked = await authority.post(PATHS.validate, { deviceId: SERVER }, authority.keys.runtime)
  expect(asked.body.allowed).toBe(true)
  for (const stream of streams) stream[Symbol.dispose]()
})

test('a reader who does not keep up is hung up on with little kept for him, and the others hear all of it', async () => {
  await using world = await startStreams({ heartbeatMs: 60_000 })
  const devices = Array.from({ length: 64 }, (_unused, index) => `test:${'x'.repeat(100)}:a:${index}`).join(
    ',',
  )
  using slow = await current(await world.open({ replica: 'slow', devices }))
  using quick = await current(await world.open({ replica: 'quick', devices }))
  slow.stopReading()
  const [kept] = world.responses
  if (kept === undefined) throw new Error('no stream')
  let mostBytes = 0
  let last = 0
  for (let count = 0; count < 4000 && !kept.destroyed; count++) {
    last = world.commit()
    world.deliver()
    mostBytes = Math.max(mostBytes, kept.writableLength)
    await quick.next(1, ({ data }) => data.epoch === last)
  }
  expect(kept.destroyed).toBe(true)
  // 64 KiB, and the event that was one too many.
  expect(mostBytes).toBeLessThan(64 * 1024 + 10 * 1024)
  const next = world.commit()
  world.deliver()
  await quick.next(1, ({ data }) => data.epoch === next)
  expect(quick.events.filter(({ event }) => event === 'stop')).toHaveLength(next)
  world.streams.flush()
  const seen = world.evidence.flatMap((evidence) => evidence.seen)
  expect(seen.filter(({ replica }) => replica === 'slow').map(({ streamUp }) => streamUp)).toEqual([
    true,
    false,
  ])
  // What was never written to it does not count as told.
  const told = world.evidence.flatMap((evidence) => evidence.told)
  expect(
    Math.max(...told.filter(({ replica }) => replica === 'slow').map(({ epoch }) => epoch)),
  ).toBeLessThan(last)
}, 60_000)

test('an org whose stops come faster than they can be told loses its streams, which come back for the rest', async () => {
  await using world = await startStreams()
  const streams = await Promise.all(
    Array.from({ length: 300 }, (_unused, index) => world.open({ replica: `r/${index}`, devices: SERVER })),
  )
  await Promise.all(streams.map(current))
  for (let count = 0; count < 1500; count++) world.commit()
  world.deliver()
  await Promise.all(streams.map(({ closed }) => closed))
  using again = await current(await world.open({ replica: 'r/0', devices: SERVER, after: '0' }))
  expect(again.events.filter(({ event }) => event === 'stop')).toHaveLength(1500)
})

test('a newer stream in another lane ends the older, and never one that is newer still', async () => {
  await using world = await startStreams()
  using stream = await current(await world.open({ replica: 'r/1', devices: SERVER }))
  const name = { orgId: ORG, keyId: 'key', replica: 'r/1' }
  world.streams.superseded({ ...name, atMs: Date.now() - 60_000 })
  const epoch = world.commit()
  world.deliver()
  await stream.next(1, ({ data }) => data.type === 'stop' && data.epoch === epoch)
  world.streams.superseded({ ...name, atMs: Date.now() })
  await stream.closed
  world.streams.flush()
  // Whoever has the newer one says so; this one says nothing about it.
  expect(world.evidence.flatMap(({ seen }) => seen.map(({ streamUp }) => streamUp))).toEqual([true])
})
