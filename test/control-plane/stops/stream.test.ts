import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import type { KeyKind } from '../../../src/machineid/wire.ts'
import { startTestControlPlane, startTestLanes, type TestControlPlane } from '../../fixtures/control-plane.ts'
import { openEventStream } from '../../fixtures/event-stream.ts'
import { bodiesOf, current, EMAIL, listenForStops, PAYMENTS, SERVER, toldTo } from './stream-client.ts'

const both = [
  ['in one thread', startTestControlPlane],
  ['in worker threads', startTestLanes],
] as const

async function registered(authority: TestControlPlane): Promise<TestControlPlane> {
  for (const deviceId of [SERVER, PAYMENTS, EMAIL]) await authority.register(deviceId)
  return authority
}

async function must(authority: TestControlPlane, path: string, body: object, kind: KeyKind = 'full') {
  const answer = await authority.post(path, body, authority.keys[kind])
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body as { epoch: number; orgEpoch: number; lockId: string }
}

describe.each(both)('GET /stops, %s', (_, start) => {
  test('it says who one is, how often it shows that it lives, and that nothing was missed', async () => {
    await using authority = await registered(await start())
    const epoch = await authority.revoke(EMAIL)
    using stream = await current(await listenForStops(authority))
    expect(stream.status).toBe(200)
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(bodiesOf(stream)).toEqual([
      { type: 'hello', orgId: authority.orgId, heartbeatMs: 15_000, keyKind: 'runtime' },
      { type: 'current', epoch },
    ])
    expect(stream.lines[0]).toMatch(/^retry: [1-9]\d{3}$/)
  })

  test('each kind of stop is told with its epoch and the devices that it hits, and no restore ever is', async () => {
    await using authority = await registered(await start())
    using stream = await current(await listenForStops(authority))
    using email = await current(await listenForStops(authority, { replica: 'r/2', devices: [EMAIL] }))

    const revoked = await authority.revoke(PAYMENTS)
    await authority.restore(PAYMENTS)
    const lock = { pattern: 'openai-agent:test:*', reason: 'test' }
    const locked = await must(authority, PATHS.locks, lock, 'stop')
    const release = PATHS.lockRelease.replace(':id', locked.lockId)
    await must(authority, release, { ifEpoch: locked.epoch }, 'operator')
    const disabled = await must(authority, PATHS.orgDisable, { reason: 'test' }, 'stop')
    await must(authority, PATHS.orgEnable, { ifEpoch: disabled.epoch }, 'admin')
    const batch = await must(authority, PATHS.revokeBatch, { deviceIds: [SERVER, EMAIL] }, 'stop')
    const removed = await must(authority, PATHS.remove, { deviceId: PAYMENTS })

    await stream.next(5, ({ event }) => event === 'stop')
    expect(toldTo(stream).slice(1)).toEqual([
      `stop ${revoked} payments`,
      `stop ${locked.epoch} tool-server,payments`,
      `stop ${disabled.epoch} tool-server,payments`,
      `stop ${batch.orgEpoch} tool-server`,
      `stop ${removed.epoch} payments`,
    ])
    expect(bodiesOf(stream).flatMap((body) => (body.type === 'stop' ? [body.action] : []))).toEqual([
      'device.revoke',
      'lock.add',
      'org.disable',
      'device.revoke',
      'device.remove',
    ])
    await email.next(3, ({ event }) => event === 'stop')
    expect(toldTo(email).slice(1)).toEqual([
      `stop ${locked.epoch} email`,
      `stop ${disabled.epoch} email`,
      `stop ${batch.orgEpoch} email`,
    ])
  })

  test('a lock that matches none of its devices, and what happens to another org, is not told', async () => {
    await using authority = await registered(await start())
    const other = await authority.service.createOrg({ kinds: ['full'] })
    using stream = await current(await listenForStops(authority))
    await must(authority, PATHS.locks, { pattern: 'openai-agent:test:email:*', reason: 'test' }, 'stop')
    await authority.post(PATHS.orgDisable, {}, other.keys.full)
    await authority.revoke(EMAIL)
    const last = await authority.revoke(SERVER)
    await stream.next(1, ({ event }) => event === 'stop')
    expect(toldTo(stream).slice(1)).toEqual([`stop ${last} tool-server`])
  })

  test('G5: what is told is durable already', async () => {
    await using authority = await registered(await start())
    const other = new DatabaseSync(authority.file, { readOnly: true })
    const epochOf = other.prepare('SELECT epoch FROM devices WHERE org_id = ? AND device_id = ?')
    using stream = await current(await listenForStops(authority))
    const answered = authority.revoke(PAYMENTS)
    const [told] = await stream.next(1, ({ event }) => event === 'stop')
    expect(epochOf.get(authority.orgId, PAYMENTS)?.['epoch']).toBe(told?.data.epoch)
    expect(await answered).toBe(told?.data.epoch)
    other.close()
  })

  test('a stop after which it is asked for is told first, also when it was undone meanwhile', async () => {
    await using authority = await registered(await start())
    const first = await authority.revoke(PAYMENTS)
    const second = await authority.revoke(PAYMENTS)
    await authority.revoke(EMAIL)
    const restored = await authority.restore(PAYMENTS)
    const third = await authority.revoke(SERVER)
    const wanted = [`stop ${second} payments`, `stop ${third} tool-server`, `current ${third}`]

    using byQuery = await current(await listenForStops(authority, { after: first }))
    expect(toldTo(byQuery)).toEqual(wanted)
    using byHeader = await current(await listenForStops(authority, { lastEventId: first, after: third }))
    expect(toldTo(byHeader)).toEqual(wanted)
    using fresh = await current(await listenForStops(authority))
    expect(toldTo(fresh)).toEqual([`current ${third}`])
    using restoredOnly = await current(await listenForStops(authority, { after: restored }))
    expect(toldTo(restoredOnly)).toEqual(wanted.slice(1))
  })

  test('an epoch that was never reached hides nothing that comes', async () => {
    await using authority = await registered(await start())
    using stream = await current(await listenForStops(authority, { after: 2 ** 50 }))
    expect(toldTo(stream)).toEqual(['current 0'])
    const epoch = await authority.revoke(SERVER)
    await stream.next(1, ({ event }) => event === 'stop')
    expect(toldTo(stream)).toEqual(['current 0', `stop ${epoch} tool-server`])
  })

  test('the newer stream of a replica ends the older; other replicas, and keys, are left alone', async () => {
    await using authority = await registered(await start())
    using older = await current(await listenForStops(authority))
    using sibling = await current(await listenForStops(authority, { replica: 'r/2' }))
    using otherKey = await current(await listenForStops(authority, { key: authority.keys.full }))
    using newer = await current(await listenForStops(authority))
    await older.closed
    const epoch = await authority.revoke(SERVER)
    for (const stream of [sibling, otherKey, newer]) {
      await stream.next(1, ({ event }) => event === 'stop')
      expect(toldTo(stream).at(-1)).toBe(`stop ${epoch} tool-server`)
    }
    expect(toldTo(older)).toEqual(['current 0'])
  })

  test('a burned key is cut, with every stream that it opened, and comes back to a no', async () => {
    await using authority = await registered(await start())
    const { key, keyId } = await authority.service.issueKey({ orgId: authority.orgId, kind: 'runtime' })
    using first = await current(await listenForStops(authority, { key }))
    using second = await current(await listenForStops(authority, { key, replica: 'r/2' }))
    using other = await current(await listenForStops(authority))
    const { epoch } = await must(authority, PATHS.keyBurn.replace(':id', keyId), {}, 'admin')
    await Promise.all([first.closed, second.closed])
    expect(toldTo(first)).toEqual(['current 0', `key_cut ${epoch}`])
    expect(toldTo(second)).toEqual(['current 0', `key_cut ${epoch}`])
    using again = await listenForStops(authority, { key, after: 0 })
    await again.closed
    expect([again.status, again.json()]).toMatchObject([401, { code: 'KEY_BURNED', handler: 'stops' }])

    const next = await authority.revoke(SERVER)
    await other.next(1, ({ event }) => event === 'stop')
    expect(toldTo(other)).toEqual(['current 0', `stop ${next} tool-server`])
  })

  test('so is one that was rotated without an overlap; with one it goes on', async () => {
    await using authority = await registered(await start())
    const { service, orgId } = authority
    const [lost, kept] = await Promise.all([1, 2].map(() => service.issueKey({ orgId, kind: 'runtime' })))
    if (lost === undefined || kept === undefined) throw new Error('no keys')
    using cut = await current(await listenForStops(authority, { key: lost.key }))
    using on = await current(await listenForStops(authority, { key: kept.key }))
    await must(authority, PATHS.keyRotate.replace(':id', kept.keyId), { overlapSeconds: 60 }, 'admin')
    await must(authority, PATHS.keyRotate.replace(':id', lost.keyId), { overlapSeconds: 0 }, 'admin')
    await cut.closed
    expect(toldTo(cut)).toEqual(['current 0', 'key_cut 1'])
    const epoch = await authority.revoke(SERVER)
    await on.next(1, ({ event }) => event === 'stop')
    expect(toldTo(on)).toEqual(['current 0', `stop ${epoch} tool-server`])
  })

  test('a key that is not good for it is told why, and its query only then', async () => {
    await using authority = await registered(await start())
    const { service, orgId, keys } = authority
    const bound = await service.issueKey({ orgId, kind: 'runtime', bindings: [SERVER, '*:*:email:*'] })
    const refusal = async (listening: Parameters<typeof listenForStops>[1]) => {
      using stream = await listenForStops(authority, listening)
      await stream.closed
      const { code, handler } = stream.json() as { code: string; handler: string }
      expect(handler).toBe('stops')
      return `${stream.status} ${code}`
    }
    expect(await refusal({ key: '' })).toBe('401 KEY_MISSING')
    expect(await refusal({ key: 'org_nonsense', replica: '' })).toBe('401 KEY_INVALID')
    expect(await refusal({ key: `${keys.runtime.slice(0, -1)}x` })).toBe('401 KEY_INVALID')
    for (const kind of ['viewer', 'stop', 'operator', 'admin'] as const) {
      expect(await refusal({ key: keys[kind], devices: [] })).toBe('403 INSUFFICIENT_SCOPE')
    }
    expect(await refusal({ key: bound.key })).toBe('403 KEY_NOT_BOUND_TO_DEVICE')
    using allowed = await current(
      await listenForStops(authority, { key: bound.key, devices: [SERVER, EMAIL] }),
    )
    expect(allowed.status).toBe(200)
    using full = await current(await listenForStops(authority, { key: keys.full }))
    expect(bodiesOf(full)[0]).toMatchObject({ type: 'hello', keyKind: 'full' })
  })

  test('a query that is not as described is refused', async () => {
    await using authority = await start()
    const many = Array.from({ length: 65 }, (_unused, index) => `a:b:c:${index}`)
    const bad: Parameters<typeof listenForStops>[1][] = [
      { replica: '' },
      { replica: 'x'.repeat(257) },
      { devices: [] },
      { devices: ['no spaces please'] },
      { devices: [SERVER, ''] },
      { devices: many },
      { after: 'yesterday' },
      { after: -1 },
      { after: 1.5 },
      { lastEventId: 'yesterday' },
      { lastEventId: '-1' },
    ]
    for (const listening of bad) {
      using stream = await listenForStops(authority, listening)
      await stream.closed
      expect([stream.status, stream.json()], JSON.stringify(listening)).toMatchObject([
        400,
        { code: 'BAD_REQUEST', handler: 'stops' },
      ])
    }
    using most = await current(await listenForStops(authority, { devices: many.slice(1) }))
    expect(most.status).toBe(200)
  })

  test('it takes GET, of the port for agents', async () => {
    await using authority = await start()
    const { url, operatorUrl, keys } = authority
    const posted = await authority.post(PATHS.stops, {}, keys.runtime)
    expect([posted.status, posted.body.code]).toEqual([405, 'METHOD_NOT_ALLOWED'])
    expect(posted.headers.get('allow')).toBe('GET')
    using wrong = await listenForStops({ url: operatorUrl, keys })
    await wrong.closed
    expect([wrong.status, wrong.json()]).toMatchObject([421, { code: 'WRONG_LANE' }])
    using stranger = await openEventStream(`${url}${PATHS.stops}`, {
      'x-org-key': keys.runtime,
      host: 'evil.example',
    })
    await stranger.closed
    expect([stranger.status, stranger.json()]).toMatchObject([403, { code: 'HOST_NOT_ALLOWED' }])
  })

  test('it ends with the control plane, and keeps nobody waiting', async () => {
    await using authority = await start()
    const streams = await Promise.all(
      Array.from({ length: 20 }, (_unused, index) => listenForStops(authority, { replica: `r/${index}` })),
    )
    await Promise.all(streams.map(current))
    const startedMs = performance.now()
    await authority.kill(5000)
    expect(performance.now() - startedMs).toBeLessThan(2500)
    await Promise.all(streams.map(({ closed }) => closed))
    await authority.restart()
    using again = await current(await listenForStops(authority, { replica: 'r/1' }))
    expect(again.status).toBe(200)
  })

  test('what was seen of it is kept: who listens, what was told, and who has gone', async () => {
    await using authority = await registered(await start())
    const replicas = async () => {
      const { status, body } = await authority.get(PATHS.replicas, authority.keys.viewer)
      expect(status).toBe(200)
      return (body.replicas as { replica: string; stream: string; devices: object[] }[]).map(
        ({ replica, stream, devices }) => `${replica} ${stream} ${devices.length}`,
      )
    }
    using first = await current(await listenForStops(authority))
    using second = await current(await listenForStops(authority, { replica: 'r/2', devices: [EMAIL] }))
    await expect.poll(replicas).toEqual(['r/1 up 2', 'r/2 up 1'])
    const epoch = await authority.revoke(SERVER)
    const told = async () => {
      const { body } = await authority.get(`${PATHS.stopHistory}?epoch=${epoch}`, authority.keys.viewer)
      return (body.stops[0].replicas as { replica: string; state: string }[]).map(
        ({ replica, state }) => `${replica} ${state}`,
      )
    }
    await expect.poll(told).toEqual(['r/1 told'])
    first[Symbol.dispose]()
    await expect.poll(replicas).toEqual(['r/1 down 2', 'r/2 up 1'])
    // A newer one of the same name does not make it look as if it were gone.
    using newer = await current(await listenForStops(authority, { replica: 'r/2', devices: [EMAIL] }))
    await second.closed
    await expect.poll(replicas).toEqual(['r/1 down 2', 'r/2 up 1'])
    expect(newer.status).toBe(200)
  })
})
